"""Reads LightGBM's own text description of a booster."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.tree_ensembles import (
    Ensemble,
    Integers,
    Numbers,
    Region,
    RegionTable,
    Terms,
    Tree,
    damaged,
    find_runs,
    make_leaf,
    reach_nodes,
    select_nodes,
)
from modelpad.errors import ConversionFailed

if TYPE_CHECKING:
    from lightgbm import Booster

# Bits of a split's `decision_type`.
CATEGORICAL, DEFAULT_LEFT, MISSING_ZERO, MISSING_NAN = 1, 2, 4, 8
# `predict` replaces values up to this by zero.
ZERO = float(np.float32(1e-35))
MAX_TERMS = 50_000_000
TRANSFORMS = {
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "softplus",
    "gamma": "exp",
    "multiclass": "softmax",
    "multiclassova": "sigmoid",
    "poisson": "exp",
    "tweedie": "exp",
}
UNTRANSFORMED = (
    "custom",
    "fair",
    "huber",
    "lambdarank",
    "mape",
    "none",
    "quantile",
    "rank_xendcg",
    "regression",
    "regression_l1",
)

Fields = Mapping[str, str]
Line = tuple[float, list[int], list[float]]
"""A constant, features and their weights."""


@dataclass(frozen=True, slots=True)
class Description:
    """A booster; `options` are those of its objective, such as `sigmoid`."""

    objective: str
    options: Mapping[str, str]
    names: tuple[str, ...]
    ensemble: Ensemble


def describe(booster: Booster) -> Description:
    """Describes the trees that `predict` uses by default. Raises `ConversionFailed`."""
    try:
        head, *sections = read_sections(booster.model_to_string())
        words = head.get("objective", "").split() or ["none"]
        options = {name: value for name, _, value in (word.partition(":") for word in words[1:])}
        ensemble = _read_ensemble(head, sections)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise damaged(str(error)[:200]) from error
    ensemble.check()
    names = tuple(head.get("feature_names", "").split(" "))
    return Description(words[0], options, names, ensemble)


def check_links(text: str) -> None:
    """Raises `ConversionFailed` for a file whose trees LightGBM would follow out of its memory."""
    try:
        head, *sections = read_sections(text)
        columns = int(head["max_feature_idx"]) + 1
        for fields in sections:
            if "left_child" not in fields:
                continue
            below, above = _integers(fields, "left_child"), _integers(fields, "right_child")
            features = _integers(fields, "split_feature")
            if not len(below) == len(above) == len(features):
                raise damaged("a tree's lists differ in length")
            if len(features) and not 0 <= features.min() <= features.max() < columns:
                raise damaged("a feature that does not exist")
            reach_nodes(below.tolist(), above.tolist(), len(below) + 1)
    except (ValueError, KeyError, OverflowError) as error:
        raise damaged(str(error)[:200]) from error


def read_sections(text: str) -> Iterator[Fields]:
    """The header, and each tree: lines of `key=value`, or of a key alone."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "Tree" or line == "end of trees":
            yield fields
            fields = {}
        if line == "end of trees":
            return
        fields[key] = value
    raise damaged("the list of trees has no end")


def transform_of(objective: str, options: Mapping[str, str]) -> str:
    """The transform of an objective. Raises `ConversionFailed` if it is not known."""
    if objective == "regression" and "sqrt" in options:
        return "signed square"
    if objective not in TRANSFORMS and objective not in UNTRANSFORMED:
        raise ConversionFailed(
            f"The objective {objective} has no known formula for its predictions.",
            hint="Train with one of LightGBM's own objectives.",
        )
    return TRANSFORMS.get(objective, "none")


def _read_ensemble(head: Fields, sections: list[Fields]) -> Ensemble:
    columns, outputs = int(head["max_feature_idx"]) + 1, int(head["num_tree_per_iteration"])
    if columns < 1 or outputs < 1:
        raise damaged("it has no features or no outputs")
    table = RegionTable(columns)
    trees = tuple(
        _read_tree(fields, table, number % outputs) for number, fields in enumerate(sections)
    )
    factor = 1.0
    if "average_output" in head and trees:
        factor = 1.0 / max(len(trees) // outputs, 1)
    return Ensemble(
        "float64",
        False,
        columns,
        outputs,
        trees,
        table.regions,
        _read_terms(sections, columns),
        factor,
    )


def _read_tree(fields: Fields, table: RegionTable, output: int) -> Tree:
    leaves = _floats(fields, "leaf_value")[:, None]
    count = int(fields["num_leaves"])
    if count == 1:
        return make_leaf(leaves[0], output)
    features, kinds = _integers(fields, "split_feature"), _integers(fields, "decision_type")
    thresholds = _floats(fields, "threshold")
    below, above = _integers(fields, "left_child"), _integers(fields, "right_child")
    sizes = {len(each) for each in (features, kinds, thresholds, below, above)}
    if sizes != {count - 1} or len(leaves) != count:
        raise damaged("a tree's lists differ in length")
    nan_below = np.zeros(count - 1, bool)
    for node, kind in enumerate(kinds):
        first, bounds, nan = _read_split(fields, int(kind), float(thresholds[node]))
        if len(bounds) <= 1 and first:
            thresholds[node] = bounds[0] if bounds else np.inf
        else:
            inside = nan != first  # the odd ranges are those that differ from the first
            region = Region(int(features[node]), bounds or (np.inf,), inside)
            features[node], thresholds[node] = table.column(region), 0.5
            nan = first
        if not first:
            below[node], above[node] = above[node], below[node]
            nan = True
        nan_below[node] = nan
    tree = Tree(features, thresholds, below, above, nan_below, leaves, output)
    return select_nodes(tree)


def _read_split(
    fields: Fields, kind: int, threshold: float
) -> tuple[bool, tuple[float, ...], bool]:
    """Whether values up to the first bound go left, where that changes, and if NaN goes left."""
    left = bool(kind & DEFAULT_LEFT)
    if kind & CATEGORICAL:
        return False, _category_bounds(fields, int(threshold)), False
    if -ZERO <= threshold < ZERO:
        threshold = ZERO if threshold >= 0 else float(np.nextafter(-ZERO, -1))
    if kind & MISSING_NAN:
        return True, (threshold,), left
    if not kind & MISSING_ZERO:
        return True, (threshold,), threshold >= 0
    edges = sorted({float(np.nextafter(-ZERO, -1)), ZERO, threshold})

    def goes_left(value: float) -> bool:
        return left if -ZERO <= value <= ZERO else value <= threshold

    return *_find_changes(edges, goes_left), left


def _find_changes(
    edges: list[float], goes_left: Callable[[float], bool]
) -> tuple[bool, tuple[float, ...]]:
    """Whether the first range goes left, and the edges at which that changes."""
    sides = [goes_left(edge) for edge in (*edges, math.inf)]
    changes = [edge for edge, (a, b) in zip(edges, pairwise(sides), strict=True) if a != b]
    return sides[0], tuple(changes)


def _category_bounds(fields: Fields, number: int) -> tuple[float, ...]:
    """The ranges of values whose integer part is in the set: above odd bounds, up to even ones."""
    ends = _integers(fields, "cat_boundaries")
    words = _integers(fields, "cat_threshold")
    if not 0 <= number < len(ends) - 1 or not 0 <= ends[number] <= ends[number + 1] <= len(words):
        raise damaged("a split uses a set of categories that does not exist")
    chosen = words[ends[number] : ends[number + 1]].astype(np.uint32)
    bits = np.unpackbits(chosen.astype("<u4").view(np.uint8), bitorder="little")
    bounds: list[float] = []
    for first, end in find_runs(np.flatnonzero(bits).tolist()):
        # -0.5 has the integer part 0.
        bounds.append(-1.0 if first == 0 else float(np.nextafter(float(first), -np.inf)))
        bounds.append(float(np.nextafter(float(end), -np.inf)))
    return tuple(bounds)


def _read_terms(sections: list[Fields], columns: int) -> Terms | None:
    """The linear models of all leaves, or None if no tree has one."""
    if not any(fields.get("is_linear", "0") == "1" for fields in sections):
        return None
    leaves = [leaf for fields in sections for leaf in _read_lines(fields)]
    width = max(1, *(len(features) for _, features, _ in leaves))
    if width * len(leaves) > MAX_TERMS:
        raise ConversionFailed(
            "The linear models in the leaves are too large.", hint="Train with fewer leaves."
        )
    constants = np.array([constant for constant, _, _ in leaves])
    table = np.full((len(leaves), width), -1, np.int64)
    weights = np.zeros((len(leaves), width))
    for number, (_, features, factors) in enumerate(leaves):
        table[number, : len(features)] = features
        weights[number, : len(factors)] = factors
    if table.max() >= columns or table.min() < -1:
        raise damaged("a linear model uses a feature that does not exist")
    if not (np.isfinite(weights).all() and np.isfinite(constants).all()):
        raise damaged("a weight of a linear model is not finite")
    return Terms(constants, table, weights)


def _read_lines(fields: Fields) -> list[Line]:
    """The linear model of each leaf of a tree, which is a constant if the tree is not linear."""
    values = _floats(fields, "leaf_value").tolist()
    if fields.get("is_linear", "0") == "1":
        constants = _floats(fields, "leaf_const").tolist()
        counts = _integers(fields, "num_features").tolist()
        features, factors = _integers(fields, "leaf_features"), _floats(fields, "leaf_coeff")
    else:
        constants, counts = values, [0] * len(values)
        features, factors = np.zeros(0, np.int64), np.zeros(0)
    if {len(constants), len(counts)} != {len(values)} or min(counts, default=0) < 0:
        raise damaged("a tree's lists differ in length")
    if {len(features), len(factors)} != {sum(counts)}:
        raise damaged("a leaf's linear model is not complete")
    ends = list(accumulate(counts, initial=0))
    lines = [
        (constant, features[first:last].tolist(), factors[first:last].tolist())
        for constant, (first, last) in zip(constants, pairwise(ends), strict=True)
    ]
    return lines * 2 if len(lines) == 1 else lines  # `make_leaf` has two leaves


def _floats(fields: Fields, key: str) -> Numbers:
    return np.array([float(word) for word in fields.get(key, "").split()], np.float64)


def _integers(fields: Fields, key: str) -> Integers:
    return np.array([int(word) for word in fields.get(key, "").split()], np.int64)
