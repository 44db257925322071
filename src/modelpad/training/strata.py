"""What a random split keeps in proportion: classes, sets of labels, or ranges of values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets import Split
from modelpad.training.splits import FOLDS, MIN_GROUPS, number_groups

Strata = NDArray[np.int64]

VALUE_RANGES = 10


def stratify(split: Split) -> Strata:
    """The stratum of each item, int64 (N,): its class, its rarest label, or the range of its value.

    Those of labels and values are large enough to be split and cross-validated; classes are as
    they are.
    """
    targets = split.targets
    if targets.ndim == 1:
        return split.labels
    if not targets.shape[1]:
        return np.zeros(len(split), np.int64)
    found = rank_labels(targets) if targets.dtype == np.bool_ else divide_values(targets)
    return merge_small(found, number_groups(found, split.groups))


def rank_labels(targets: NDArray[np.generic]) -> Strata:
    """One more than the number of each item's rarest label (N, K); 0 for an item without any."""
    counts = targets.astype(np.int64).sum(axis=0)
    weights = np.where(targets, counts, len(targets) + 1)
    rarest = weights.argmin(axis=1) + 1
    return np.where(targets.any(axis=1), rarest, 0).astype(np.int64)


def divide_values(targets: NDArray[np.generic]) -> Strata:
    """Ranges with equally many items, by the mean rank of an item's values (N, K)."""
    ranks = targets.argsort(axis=0, kind="stable").argsort(axis=0).mean(axis=1)
    places = ranks.argsort(kind="stable").argsort()
    count = max(1, min(VALUE_RANGES, len(targets) // FOLDS))
    strata: Strata = (places * count // max(1, len(targets))).astype(np.int64)
    return strata


def merge_small(strata: Strata, owners: NDArray[np.int64]) -> Strata:
    """Strata in which those with items of too few groups are joined to the largest one."""
    present, counts = np.unique(strata, return_counts=True)
    if not len(present):
        return strata
    largest = present[counts.argmax()]
    small = [each for each in present if len(np.unique(owners[strata == each])) < MIN_GROUPS]
    return np.where(np.isin(strata, small), largest, strata)


def sample_evenly(strata: Strata, limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The indices of `limit` random items, ascending; of each stratum about its share.

    While there is room, each stratum has at least one.
    """
    order = rng.permutation(len(strata))
    place = np.empty(len(strata), np.float64)
    for each in np.unique(strata):
        members = order[strata[order] == each]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
        place[members[0]] = -1.0  # a class without items could not be learnt
    return np.sort(order[np.argsort(place[order], kind="stable")[:limit]])
