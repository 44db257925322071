"""What splits keep in proportion, and random parts that keep it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelpad.datasets import Split
from modelpad.datasets.split import Targets
from modelpad.training.image_splits import truncate
from modelpad.training.splits import hold_out
from modelpad.training.strata import sample_evenly, stratify


def make_split(targets: Targets, groups: NDArray[np.int64] | None = None) -> Split:
    return Split(np.zeros((len(targets), 2, 2), np.uint8), targets, groups=groups)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 120))
def test_a_part_has_each_stratum_in_proportion(counts: list[int], limit: int) -> None:
    strata = np.repeat(np.arange(len(counts)), counts)
    chosen = sample_evenly(strata, limit, np.random.default_rng(0))
    assert len(chosen) == len(set(chosen.tolist())) == min(limit, len(strata))
    for each, count in enumerate(counts):
        share = min(limit, len(strata)) * count / len(strata)
        assert abs((strata[chosen] == each).sum() - share) <= len(counts)


def test_a_rare_stratum_is_not_left_out() -> None:
    strata = np.repeat([0, 1, 2], [900, 3, 1])
    for seed in range(5):
        chosen = sample_evenly(strata, 20, np.random.default_rng(seed))
        assert np.bincount(strata[chosen]).tolist() == [18, 1, 1]


def test_a_limited_test_split_sorted_by_class_has_all_classes_and_obeys_the_seed() -> None:
    split = make_split(np.repeat(np.arange(4), 250))
    limited = truncate(split, 40, 0)
    assert np.bincount(limited.labels).tolist() == [10, 10, 10, 10]
    split = make_split(np.arange(1000))
    first, again, other = (truncate(split, 40, seed).labels for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_rarest_label_of_an_item_counts() -> None:
    truth = np.zeros((40, 3), np.bool_)
    truth[:30, 0] = truth[20:36, 1] = truth[28:34, 2] = True
    strata = stratify(make_split(truth))
    assert np.unique(strata, return_counts=True)[1].tolist() == [4, 20, 10, 6]
    _, held = hold_out(strata, 0.25, np.random.default_rng(0))
    assert truth[held].sum(axis=0).min() >= 1


def test_labels_of_one_patient_are_no_stratum_of_their_own() -> None:
    truth = np.zeros((30, 2), np.bool_)
    truth[:20, 0] = truth[26:, 1] = True
    groups = np.minimum(np.arange(30), 26)
    strata = stratify(make_split(truth, groups))
    hold_out(strata, 0.2, np.random.default_rng(0), groups)
    assert len(np.unique(strata)) == 2


def test_ranges_of_values_hold_equally_many_items() -> None:
    values = np.random.default_rng(0).exponential(1, (200, 1)).astype(np.float32)
    strata = stratify(make_split(values))
    assert np.bincount(strata).tolist() == [20] * 10
    assert values[strata == 0].max() < values[strata == 9].min()
