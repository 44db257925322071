"""Counts by class, against scikit-learn's."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from modelpad.training.metrics import ClassCounts, confusion, count_classes, count_labels


def flatten(counts: list[ClassCounts]) -> list[tuple[float, float, float, int]]:
    return [(each.precision, each.recall, each.f1, each.support) for each in counts]


def test_classes_are_counted_as_by_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 4, (2, 100))
    found = confusion(labels, predicted, 4)
    np.testing.assert_array_equal(found, confusion_matrix(labels, predicted))
    expected = precision_recall_fscore_support(labels, predicted)
    np.testing.assert_allclose(flatten(count_classes(found)), np.transpose(expected))


def test_a_class_that_is_never_predicted_has_zeros() -> None:
    found = count_classes(confusion(np.array([0, 0, 1]), np.array([0, 0, 0]), 3))
    assert flatten(found)[1:] == [(0.0, 0.0, 0.0, 1), (0.0, 0.0, 0.0, 0)]


def test_labels_are_counted_as_by_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = rng.random((2, 50, 3)) < 0.4
    expected = precision_recall_fscore_support(truth, predicted)
    np.testing.assert_allclose(flatten(count_labels(truth, predicted)), np.transpose(expected))
