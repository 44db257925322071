"""Which items to learn from, to choose by and to test by, as indices.

Every class keeps its share in each part. Knows nothing of what the items are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from modelpad.errors import DataSetInvalid

Indices = NDArray[np.int64]

SMALL = 200  # with fewer items than this, one validation part says too little
LARGEST_SHARE = 0.2
FOLDS = 5


def hold_out(
    labels: NDArray[np.int64], share: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """The indices without `share` of them, and that share; both shuffled, classes in proportion.

    Raises:
        DataSetInvalid: a class has fewer than three items.
    """
    kept: list[Indices] = []
    held: list[Indices] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label)).astype(np.int64)
        if len(members) < 3:
            raise DataSetInvalid(
                f"Class {label} has {len(members)} items.",
                hint="Each class needs at least three: to learn, to choose and to test.",
            )
        count = max(1, round(len(members) * share))
        held.append(members[:count])
        kept.append(members[count:])
    return rng.permutation(np.concatenate(kept)), rng.permutation(np.concatenate(held))


def validation_share(count: int, share: float) -> float:
    """The share of `count` training items to choose by: `share`, unless that would be tiny.

    The part has at least 200 items, or a fifth of the data where there is less.
    """
    return max(share, min(LARGEST_SHARE, SMALL / max(1, count)))


def make_folds(
    labels: NDArray[np.int64], rng: np.random.Generator, folds: int = FOLDS
) -> Iterator[tuple[Indices, Indices]]:
    """Each fold's (training, validation) indices; every item is in one validation part.

    Classes are dealt out in turn, so that each fold has its share of them.
    """
    order = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    ).astype(np.int64)
    fold_of = np.arange(len(order)) % folds
    for fold in range(folds):
        yield rng.permutation(order[fold_of != fold]), order[fold_of == fold]
