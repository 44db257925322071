"""Splits keep classes in proportion, and a validation part is never tiny."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpad.errors import DataSetInvalid
from modelpad.training.splits import FOLDS, hold_out, make_folds, validation_share


@given(st.lists(st.integers(3, 60), min_size=2, max_size=6), st.floats(0.02, 0.5))
def test_every_class_keeps_its_share(counts: list[int], share: float) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    kept, held = hold_out(labels, share, np.random.default_rng(0))
    assert sorted([*kept, *held]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        assert (labels[held] == label).sum() == max(1, round(count * share))


def test_a_class_of_two_cannot_be_split() -> None:
    with pytest.raises(DataSetInvalid, match="Class 1 has only 2 items"):
        hold_out(np.array([0, 0, 0, 1, 1]), 0.2, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("count", "items"), [(60_000, 2_000), (6_000, 200), (1_438, 200), (1_000, 200), (300, 60)]
)
def test_a_validation_part_is_never_tiny(count: int, items: int) -> None:
    assert round(count * validation_share(count, 1 / 30)) == items


@given(st.lists(st.integers(1, 30), min_size=2, max_size=5))
def test_folds_hold_every_item_once_and_classes_in_proportion(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    folds = list(make_folds(labels, np.random.default_rng(0)))
    assert len(folds) == FOLDS
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(len(labels)))
    for learned, held in folds:
        assert not set(learned) & set(held)
        for label, count in enumerate(counts):
            assert abs((labels[held] == label).sum() - count / FOLDS) <= 1
