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


def draw_patients() -> tuple[np.ndarray, np.ndarray]:
    """Labels and patients of 400 pictures: a patient has one to nine, mostly of one class."""
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(80), rng.integers(1, 10, 80))
    labels = (patients % 4 == 0).astype(np.int64)
    return labels, patients * 7


def test_a_patient_is_never_in_two_parts() -> None:
    labels, patients = draw_patients()
    kept, held = hold_out(labels, 0.2, np.random.default_rng(0), patients)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert not set(patients[kept]) & set(patients[held])
    for label in (0, 1):
        assert (labels[held] == label).sum() == pytest.approx(0.2 * (labels == label).sum(), abs=3)


def test_a_patient_is_never_in_two_folds() -> None:
    labels, patients = draw_patients()
    folds = list(make_folds(labels, np.random.default_rng(0), groups=patients))
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(len(labels)))
    for learned, held in folds:
        assert not set(patients[learned]) & set(patients[held])
        assert labels[held].mean() == pytest.approx(labels.mean(), abs=0.1)


def test_large_groups_are_split_too() -> None:
    labels, groups = np.repeat([0, 1], 30), np.repeat(np.arange(6), 10)
    kept, held = hold_out(labels, 0.05, np.random.default_rng(0), groups)
    assert set(labels[held]) == set(labels[kept]) == {0, 1}
    assert len(held) == 20


def test_a_class_of_two_patients_cannot_be_split() -> None:
    labels, groups = np.repeat([0, 1], 10), np.array([*range(10), *[10, 11] * 5])
    with pytest.raises(DataSetInvalid, match="Class 'ill' has only 10 items, in 2 groups"):
        hold_out(labels, 0.2, np.random.default_rng(0), groups, ["well", "ill"])


def test_fewer_groups_than_folds() -> None:
    labels, groups = np.repeat([0, 1], 10), np.repeat(np.arange(4), 5)
    with pytest.raises(DataSetInvalid, match="belong to 4 groups, too few for 5 folds"):
        list(make_folds(labels, np.random.default_rng(0), groups=groups))


def test_many_items_are_split_quickly() -> None:
    labels = np.arange(100_000) % 100
    kept, held = hold_out(labels, 0.1, np.random.default_rng(0), labels * 0 + np.arange(100_000))
    assert (len(kept), len(held)) == (90_000, 10_000)
