"""Stratified training, validation and test splits, as indices.

Each class keeps its proportion in each split. Items of one group, such as the pictures of one
patient or copies of one picture, are never in two splits. The items themselves are not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from modelpad.errors import DataSetInvalid

Indices = NDArray[np.int64]

SMALL = 200  # with fewer items, a single validation split is unreliable
LARGEST_SHARE = 0.2
FOLDS = 5
MIN_GROUPS = 3  # for training, validation and testing


def hold_out(
    labels: NDArray[np.int64],
    share: float,
    rng: np.random.Generator,
    groups: NDArray[np.int64] | None = None,
    names: Sequence[str] = (),
) -> tuple[Indices, Indices]:
    """Indices split into (remainder, `share`), both shuffled and stratified.

    With `groups` (N,), whole groups are held out: of each class about its share. `names` of the
    classes are for the error.

    Raises:
        DataSetInvalid: a class has fewer than three items, or is in fewer than three groups.
    """
    owners = number_groups(labels, groups)
    present, counts = np.unique(labels, return_counts=True)
    for label in present:
        require_groups(labels, owners, int(label), names)
    chosen = np.zeros(owners.max() + 1, np.bool_)
    for label in present[np.argsort(counts, kind="stable")]:  # the rarest have the least choice
        sizes = np.bincount(owners[labels == label], minlength=len(chosen))
        choose_groups(sizes, chosen, share, rng)
    held_out = chosen[owners]
    return rng.permutation(np.flatnonzero(~held_out)), rng.permutation(np.flatnonzero(held_out))


def number_groups(labels: NDArray[np.int64], groups: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The number of each item's group, from 0 on; its own where there are none."""
    if groups is None:
        return np.arange(len(labels))
    return np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.int64)


def choose_groups(
    sizes: NDArray[np.int64], chosen: NDArray[np.bool_], share: float, rng: np.random.Generator
) -> None:
    """Marks random groups until about `share` of a class is chosen; `sizes` are its items by group.

    At least one group is chosen and one left.
    """
    missing = max(1, round(int(sizes.sum()) * share)) - int(sizes[chosen].sum())
    candidates = rng.permutation(np.flatnonzero((sizes > 0) & ~chosen))
    taken = int(np.count_nonzero(sizes[chosen]))
    for group in candidates[:-1].tolist():
        if missing <= 0:
            return
        if sizes[group] < 2 * missing:  # else leaving it out misses the share by less
            chosen[group] = True
            missing -= int(sizes[group])
            taken += 1
    if not taken:
        chosen[min(candidates.tolist(), key=lambda group: sizes[group])] = True


def require_groups(
    labels: NDArray[np.int64], owners: NDArray[np.int64], label: int, names: Sequence[str]
) -> None:
    """Raises DataSetInvalid for a class with too few items or groups to be split in three."""
    members = owners[labels == label]
    count, groups = len(members), len(np.unique(members))
    if groups >= MIN_GROUPS:
        return
    name = f"{names[label]!r}" if names else str(label)
    within = f", in {groups} group{'s' * (groups != 1)}" if groups < count else ""
    raise DataSetInvalid(
        f"Class {name} has only {count} item{'s' * (count != 1)}{within}.",
        hint=f"Each class needs at least three{' groups' * bool(within)}:"
        " for training, validation and testing.",
    )


def validation_share(count: int, share: float) -> float:
    """The validation share of `count` training items: `share`, raised if the split would be tiny.

    The split has at least 200 items, or a fifth of the data if there are fewer than 1,000.
    """
    return max(share, min(LARGEST_SHARE, SMALL / max(1, count)))


def make_folds(
    labels: NDArray[np.int64],
    rng: np.random.Generator,
    folds: int = FOLDS,
    groups: NDArray[np.int64] | None = None,
) -> Iterator[tuple[Indices, Indices]]:
    """Each fold's (training, validation) indices; each item is validated exactly once.

    Items are distributed class by class, which stratifies the folds; with `groups` (N,), whole
    groups are, by scikit-learn's StratifiedGroupKFold. Raises DataSetInvalid for fewer groups
    than folds.
    """
    fold_of = assign_folds(labels, rng, folds, groups)
    for fold in range(folds):
        inside = fold_of == fold
        yield rng.permutation(np.flatnonzero(~inside)), np.flatnonzero(inside)


def assign_folds(
    labels: NDArray[np.int64],
    rng: np.random.Generator,
    folds: int,
    groups: NDArray[np.int64] | None,
) -> NDArray[np.int64]:
    """The number of each item's fold, int64 (N,)."""
    fold_of = np.empty(len(labels), np.int64)
    if groups is None:
        order = np.concatenate(
            [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
        )
        fold_of[order] = np.arange(len(order)) % folds
        return fold_of
    from sklearn.model_selection import StratifiedGroupKFold

    count = len(np.unique(groups))
    if count < folds:
        raise DataSetInvalid(
            f"The items belong to {count} group{'s' * (count != 1)}, too few for {folds} folds.",
            hint=f"Use data of at least {folds} groups, such as patients, or leave the groups out.",
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        fold_of[held_out] = fold
    return fold_of
