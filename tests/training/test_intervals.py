"""Bootstrap intervals: they cover what they should, and respect classes and groups."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from modelpad.statistics import wilson
from modelpad.training.intervals import bootstrap, bootstrap_all
from modelpad.training.metrics import accuracy


def answers(correct: int, total: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    labels = np.zeros(total, np.int64)
    scores = np.eye(2, dtype=np.float32)[(np.arange(total) >= correct).astype(int)]
    return labels, scores


def test_of_an_accuracy_it_is_close_to_wilson() -> None:
    found, expected = bootstrap(accuracy, *answers(320, 400)), wilson(320, 400)
    assert found.low == pytest.approx(expected.low, abs=0.01)
    assert found.high == pytest.approx(expected.high, abs=0.01)


def test_the_same_seed_gives_the_same_interval() -> None:
    labels, scores = answers(300, 401)
    assert bootstrap(accuracy, labels, scores) == bootstrap(accuracy, labels, scores)
    assert bootstrap(accuracy, labels, scores, seed=1) != bootstrap(accuracy, labels, scores)


def test_pictures_of_one_patient_are_no_more_than_one_picture() -> None:
    labels, scores = answers(30, 40)
    repeated = np.repeat(np.arange(40), 10)
    alone = bootstrap(accuracy, labels, scores)
    ignored = bootstrap(accuracy, labels[repeated], scores[repeated])
    grouped = bootstrap(accuracy, labels[repeated], scores[repeated], groups=repeated)
    assert ignored.high - ignored.low < 0.5 * (grouped.high - grouped.low)
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, abs=0.05)


def test_every_resample_has_every_class_in_its_proportion() -> None:
    labels = np.array([0] * 30 + [1] * 3)
    scores = np.zeros((33, 2), np.float32)

    def share(labels: NDArray[np.generic], scores: NDArray[np.float32]) -> float:
        return float(np.mean(labels == 1))

    found = bootstrap(share, labels, scores)
    assert found.low == found.high == pytest.approx(3 / 33)


def test_several_metrics_at_a_time_and_resamples_without_a_result() -> None:
    labels, scores = answers(3, 5)

    def measure(labels: NDArray[np.generic], scores: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.array([scores[:, 0].mean(), np.nan])

    first, second = bootstrap_all(measure, labels, scores)
    assert 0 <= first.low < 0.6 < first.high <= 1
    assert np.isnan(second.low)


def test_labels_in_several_columns_are_resampled_together() -> None:
    truth = np.array([[1, 0], [0, 1]] * 20, np.bool_)

    def agree(labels: NDArray[np.generic], scores: NDArray[np.float32]) -> float:
        return float((labels == (scores > 0.5)).mean())

    found = bootstrap(agree, truth, truth.astype(np.float32))
    assert found.low == found.high == 1
