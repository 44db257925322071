"""A tree ensemble as XGBoost, LightGBM and CatBoost share it, checked for damage.

It depends on no framework and not on ONNX: `trees.py` writes it as a graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modelpad.errors import ConversionFailed

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MAX_DEPTH = 2_000  # ONNX Runtime reads a tree by recursion
MAX_NODES = 10_000_000
MAX_COLUMNS = 1_000_000
HARD_ROWS = 48
EXTREMES = (np.nan, 0.0, -0.0, -1.0, -0.5, 0.5, 1e30, -1e30, 1e-35, -1e-35, 2.0**31, 2.0**24)


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree as parallel arrays, one element a node; the root is node 0.

    A value of column `features[n]` that is below `thresholds[n]` continues at `below[n]`, another
    at `above[n]`; NaN is below where `nan_below[n]`. Leaf number `l` is written `~l`. `leaves` is
    (leaves, outputs), or (leaves, 1) for values that are added to the output number `output`.
    """

    features: Integers
    thresholds: Numbers
    below: Integers
    above: Integers
    nan_below: Flags
    leaves: Numbers
    output: int = 0


@dataclass(frozen=True, slots=True)
class Region:
    """A derived column: 1 where a feature is between bounds 1 and 2, 3 and 4, ...; else 0.

    It is how a set of categories, or a missing value coded as zero, is written with thresholds.
    """

    feature: int
    bounds: tuple[float, ...]
    nan_inside: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """Linear models in the leaves, arrays (all leaves, terms): value += weight x feature.

    A leaf's value in its tree applies if one of its features is NaN, else its `constants` do.
    Unused terms have the feature -1.
    """

    constants: Numbers
    features: Integers
    weights: Numbers


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trees over `columns` features of `dtype`, followed by one column for each region.

    With `strict`, below means `<`, else `<=`. The result is `factor * sum of leaves + offset`,
    (batch, outputs) in double precision.
    """

    dtype: str
    strict: bool
    columns: int
    outputs: int
    trees: tuple[Tree, ...]
    regions: tuple[Region, ...] = ()
    terms: Terms | None = None
    factor: float = 1.0
    offset: Numbers | float = 0.0

    def check(self) -> None:
        """Raises `ConversionFailed` if the trees are damaged, or too deep or many to be served."""
        nodes = sum(len(tree.features) for tree in self.trees)
        nodes += sum(len(region.bounds) for region in self.regions)
        if nodes > MAX_NODES:
            raise ConversionFailed(
                f"The trees have {nodes:,} nodes; at most {MAX_NODES:,} are supported.",
                hint="Train with fewer or smaller trees.",
            )
        if self.columns > MAX_COLUMNS or len(self.trees) * self.outputs > MAX_NODES:
            raise ConversionFailed(
                f"{self.columns:,} features and {self.outputs:,} outputs are too many.",
                hint=f"At most {MAX_COLUMNS:,} features are supported.",
            )
        width = self.columns + len(self.regions)
        for tree in self.trees:
            if len(tree.features) and not 0 <= tree.features.min() <= tree.features.max() < width:
                raise damaged("a split uses a feature that does not exist")
            if np.isnan(tree.thresholds).any():
                raise damaged("a threshold is not a number")
            if not np.isfinite(tree.leaves).all():
                raise damaged("the value of a leaf is not finite")
            if not 0 <= tree.output < self.outputs:
                raise damaged("a tree belongs to an output that does not exist")
        for region in self.regions:
            if not 0 <= region.feature < self.columns:
                raise damaged("a split uses a feature that does not exist")


class RegionTable:
    """Gives each region a column after the features, the same region the same one."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._known: dict[Region, int] = {}

    def column(self, region: Region) -> int:
        """The column of the region."""
        return self._columns + self._known.setdefault(region, len(self._known))

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions, by column."""
        return tuple(self._known)


def damaged(what: str) -> ConversionFailed:
    """The error for trees that no training writes."""
    return ConversionFailed(f"The model's trees are damaged: {what}.", hint="Save the model again.")


def not_fitted(model: object) -> ConversionFailed:
    """The error for an estimator without trees."""
    return ConversionFailed(f"The {type(model).__name__} is not fitted.", hint="Call fit first.")


def make_leaf(values: Numbers, output: int = 0) -> Tree:
    """A tree without splits, as a node with two equal leaves."""
    twice = np.stack([values, values])
    zero = np.zeros(1, np.int64)
    return Tree(zero, np.zeros(1), ~zero, ~zero - 1, np.ones(1, bool), twice, output)


def reach_nodes(below: Sequence[int], above: Sequence[int], leaves: int) -> list[int]:
    """The nodes that are reached from node 0; leaf `l` is written `~l`.

    Raises `ConversionFailed` if a link leads nowhere, a node has two parents or is its own
    ancestor, or the tree is too deep.
    """
    nodes: list[int] = []
    seen = set()
    stack = [(0, 1)]
    while stack:
        node, depth = stack.pop()
        if node in seen:
            raise damaged("two links lead to the same node")
        if not -leaves <= node < len(below):
            raise damaged("a link leads to a node that does not exist")
        if depth > MAX_DEPTH:
            raise ConversionFailed(
                f"A tree is more than {MAX_DEPTH:,} levels deep.",
                hint="Limit the depth of the trees (max_depth).",
            )
        seen.add(node)
        if node >= 0:
            nodes.append(node)
            stack += ((above[node], depth + 1), (below[node], depth + 1))
    return nodes


def select_nodes(tree: Tree) -> Tree:
    """The tree with only the nodes that are reached from its root. Raises like `reach_nodes`."""
    nodes = np.array(reach_nodes(tree.below.tolist(), tree.above.tolist(), len(tree.leaves)))
    place = np.zeros(len(tree.below), np.int64)
    place[nodes] = np.arange(len(nodes))

    def follow(links: Integers) -> Integers:
        kept = links[nodes]
        moved: Integers = np.where(kept >= 0, place[np.maximum(kept, 0)], kept)
        return moved

    return Tree(
        tree.features[nodes],
        tree.thresholds[nodes],
        follow(tree.below),
        follow(tree.above),
        tree.nan_below[nodes],
        tree.leaves,
        tree.output,
    )


def find_runs(members: npt.ArrayLike) -> list[tuple[int, int]]:
    """The ranges of consecutive numbers, each from its first to the one after its last."""
    numbers = np.unique(np.asarray(members, np.int64))
    if not len(numbers):
        return []
    breaks = np.flatnonzero(np.diff(numbers) > 1)
    firsts = numbers[np.concatenate([[0], breaks + 1])]
    lasts = numbers[np.concatenate([breaks, [len(numbers) - 1]])]
    return [(int(first), int(last) + 1) for first, last in zip(firsts, lasts, strict=True)]


def region_tree(region: Region) -> Tree:
    """A balanced tree whose leaves are 0 and 1."""
    count = len(region.bounds)
    links: dict[int, tuple[int, int]] = {}

    def link(first: int, last: int) -> int:
        """The node that decides between the ranges `first` to `last`."""
        if first == last:
            return ~first
        middle = (first + last) // 2
        links[middle] = (link(first, middle), link(middle + 1, last))
        return middle

    root = link(0, count)
    order = [root, *(node for node in range(count) if node != root)]
    place = {node: number for number, node in enumerate(order)}
    pairs = [[place.get(child, child) for child in links[node]] for node in order]
    missing = 1 if region.nan_inside else 0
    return Tree(
        np.full(count, region.feature, np.int64),
        np.array([region.bounds[node] for node in order]),
        np.array([pair[0] for pair in pairs]),
        np.array([pair[1] for pair in pairs]),
        np.array([missing <= node for node in order]),
        (np.arange(count + 1) % 2).astype(np.float64)[:, None],
    )


def hard_rows(ensemble: Ensemble) -> Iterator[npt.NDArray[Any]]:
    """Rows (features,) with values on thresholds and next to them, missing and extreme ones."""
    random = np.random.default_rng(7)
    dtype = np.dtype(ensemble.dtype)
    pools = {
        feature: _beside(np.array(sorted(known), dtype))
        for feature, known in _find_thresholds(ensemble).items()
    }
    extremes = np.array(EXTREMES, dtype)
    yield np.full(ensemble.columns, np.nan, dtype)
    yield np.zeros(ensemble.columns, dtype)
    for number in range(HARD_ROWS):
        row = random.choice(extremes, ensemble.columns)
        for feature, pool in pools.items():
            if number % 2 == 0 or random.random() < 0.7:
                row[feature] = random.choice(pool)
        yield row


def _find_thresholds(ensemble: Ensemble) -> dict[int, set[float]]:
    """The finite thresholds of each feature that has any."""
    found: dict[int, set[float]] = {}
    for tree in ensemble.trees:
        for feature, threshold in zip(tree.features.tolist(), tree.thresholds, strict=True):
            if feature < ensemble.columns and np.isfinite(threshold):
                found.setdefault(feature, set()).add(float(threshold))
    for region in ensemble.regions:
        bounds = [bound for bound in region.bounds if np.isfinite(bound)]
        found.setdefault(region.feature, {0.0}).update(bounds)
    return found


def _beside(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values, and the representable finite ones before and after each."""
    largest = np.array(np.finfo(values.dtype).max, values.dtype)
    return np.concatenate([values, np.nextafter(values, -largest), np.nextafter(values, largest)])
