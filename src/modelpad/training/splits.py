"""Stratified training, validation and test splits, as indices.

Each class keeps its proportion in each split. The items themselves are not needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from modelpad.errors import DataSetInvalid

Indices = NDArray[np.int64]

SMALL = 200  # with fewer items, a single validation split is unreliable
LARGEST_SHARE = 0.2
FOLDS = 5


def hold_out(
    labels: NDArray[np.int64], share: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Indices split into (remainder, `share`), both shuffled and stratified.

    Raises:
        DataSetInvalid: a class has fewer than three items.
    """
    kept: list[Indices] = []
    held_out: list[Indices] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label)).astype(np.int64)
        if len(members) < 3:
            raise DataSetInvalid(
                f"Class {label} has only {len(members)} items.",
                hint="Each class needs at least three: for training, validation and testing.",
            )
        count = max(1, round(len(members) * share))
        held_out.append(members[:count])
        kept.append(members[count:])
    return rng.permutation(np.concatenate(kept)), rng.permutation(np.concatenate(held_out))


def validation_share(count: int, share: float) -> float:
    """The validation share of `count` training items: `share`, raised if the split would be tiny.

    The split has at least 200 items, or a fifth of the data if there are fewer than 1,000.
    """
    return max(share, min(LARGEST_SHARE, SMALL / max(1, count)))


def make_folds(
    labels: NDArray[np.int64], rng: np.random.Generator, folds: int = FOLDS
) -> Iterator[tuple[Indices, Indices]]:
    """Each fold's (training, validation) indices; each item is validated exactly once.

    Items are distributed class by class, which stratifies the folds.
    """
    order = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    ).astype(np.int64)
    fold_of = np.arange(len(order)) % folds
    for fold in range(folds):
        yield rng.permutation(order[fold_of != fold]), order[fold_of == fold]
