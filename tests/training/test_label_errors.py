"""Confident learning finds the labels that were swapped."""

from __future__ import annotations

import numpy as np

from modelpad.training.label_errors import find_wrong_labels


def test_swapped_labels_are_found() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    scores = rng.dirichlet([1, 1, 1], 300) * 0.3
    scores[np.arange(300), truth] += 0.7
    given = truth.copy()
    swapped = rng.choice(300, 12, replace=False)
    given[swapped] = (given[swapped] + 1) % 3
    found = find_wrong_labels(given, scores.astype(np.float32))
    assert {each.index for each in found} <= set(swapped.tolist())
    assert len(found) >= 6  # those with a score above the mean of their true class
    assert all(each.suggested == truth[each.index] for each in found)
    margins = [each.given_score - each.score for each in found]
    assert margins == sorted(margins)


def test_a_hesitant_mistake_is_not_a_wrong_label() -> None:
    scores = np.array([[0.95, 0.05], [0.9, 0.1], [0.1, 0.9], [0.05, 0.95], [0.45, 0.55]])
    assert find_wrong_labels(np.array([0, 0, 1, 1, 0]), scores.astype(np.float32)) == []


def test_a_class_without_items_is_never_suggested() -> None:
    scores = np.array([[0.1, 0.2, 0.7], [0.6, 0.1, 0.3], [0.2, 0.6, 0.2]], np.float32)
    assert all(each.suggested != 2 for each in find_wrong_labels(np.array([0, 0, 1]), scores))
