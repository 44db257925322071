"""Likely wrong labels, found by confident learning.

Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in dataset labels".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class WrongLabel:
    """An item whose label is likely wrong: its index, the label it has and the one it should have.

    `score` is the suggested label's score, `given_score` that of the given one.
    """

    index: int
    given: int
    suggested: int
    score: float
    given_score: float


def find_wrong_labels(labels: NDArray[np.int64], scores: NDArray[np.float32]) -> list[WrongLabel]:
    """The items that are confidently another class than their label (N,), the clearest first.

    `scores` (N, classes) must come from a model that did not see the item: out-of-fold, or on a
    held-out split. An item counts as class j when its score for j reaches the mean score of j
    among the items labelled j; of several such classes, the one with the highest score.
    """
    scores = scores.astype(np.float64)
    present = np.unique(labels)
    thresholds = np.full(scores.shape[1], np.inf)
    for label in present:
        thresholds[label] = scores[labels == label, label].mean()
    confident = np.where(scores >= thresholds - 1e-12, scores, -1.0)
    suggested = confident.argmax(axis=1)
    rows = np.arange(len(labels))
    wrong = np.flatnonzero((confident[rows, suggested] >= 0) & (suggested != labels))
    margins = scores[wrong, labels[wrong]] - scores[wrong, suggested[wrong]]
    return [
        WrongLabel(
            int(index),
            int(labels[index]),
            int(suggested[index]),
            float(scores[index, suggested[index]]),
            float(scores[index, labels[index]]),
        )
        for index in wrong[np.argsort(margins, kind="stable")]
    ]
