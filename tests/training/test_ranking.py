"""ROC and precision-recall metrics, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from modelpad.training.ranking import (
    area_under_roc,
    average_precision,
    precision_recall_curve,
    roc_curve,
    sensitivity_at,
)

TRUTH = np.array([False, True, True, False, True, False])


def draw(seed: int, digits: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Items with many equal scores when rounded to few digits."""
    rng = np.random.default_rng(seed)
    truth = rng.random(200) < 0.3
    return truth, np.round(rng.normal(truth, 1.0), digits).astype(np.float32)


@pytest.mark.parametrize(("seed", "digits"), [(0, 6), (1, 1), (2, 0)])
def test_areas_are_those_of_scikit_learn(seed: int, digits: int) -> None:
    truth, scores = draw(seed, digits)
    assert area_under_roc(truth, scores) == pytest.approx(metrics.roc_auc_score(truth, scores))
    expected = metrics.average_precision_score(truth, scores)
    assert average_precision(truth, scores) == pytest.approx(expected)


@pytest.mark.parametrize("digits", [6, 1])
def test_curves_are_those_of_scikit_learn(digits: int) -> None:
    truth, scores = draw(3, digits)
    expected = metrics.roc_curve(truth, scores, drop_intermediate=False)[:2]
    np.testing.assert_allclose(roc_curve(truth, scores), expected)
    recall, precision = precision_recall_curve(truth, scores)
    precisions, recalls, _ = metrics.precision_recall_curve(truth, scores)
    np.testing.assert_allclose(recall[1:], recalls[:-1][::-1])
    np.testing.assert_allclose(precision[1:], precisions[:-1][::-1])


def test_sensitivity_at_a_specificity() -> None:
    truth = np.repeat([False, True], 10)
    scores = np.concatenate([np.arange(10), np.arange(10) + 7]) / 20
    # One of ten false items may pass 0.9: the threshold is 9, which eight true items reach.
    assert sensitivity_at(0.9, truth, scores) == pytest.approx(0.8)
    assert sensitivity_at(0.95, truth, scores) == pytest.approx(0.7)
    assert sensitivity_at(0.0, truth, scores) == 1


def test_constant_scores_are_chance() -> None:
    assert area_under_roc(TRUTH, np.zeros(6)) == 0.5
    assert sensitivity_at(0.95, TRUTH, np.zeros(6)) == 0
    assert average_precision(TRUTH, np.zeros(6)) == 0.5


@pytest.mark.parametrize("truth", [np.ones(3, np.bool_), np.zeros(3, np.bool_)])
def test_undefined_with_one_class(truth: NDArray[np.bool_]) -> None:
    assert np.isnan(area_under_roc(truth, np.arange(3.0)))
