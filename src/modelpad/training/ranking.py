"""How well a score ranks the items of a class above the others: ROC and precision-recall curves.

All functions take `truth`, bool (N,), and `scores`, float (N,); the higher, the more likely true.
Items with equal scores are never separated. NaN where a metric is undefined.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Truth = NDArray[np.bool_]
Scores = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Cumulated:
    """Items found true at each distinct threshold, from the strictest on: float64 (M,)."""

    hits: NDArray[np.float64]
    false_alarms: NDArray[np.float64]


def area_under_roc(truth: Truth, scores: Scores) -> float:
    """The probability that a random true item has a higher score than a random false one.

    Ties count half. Hanley and McNeil 1982.
    """
    false_rates, true_rates = roc_curve(truth, scores)
    return float(np.sum(np.diff(false_rates) * (true_rates[1:] + true_rates[:-1]) / 2))


def roc_curve(truth: Truth, scores: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False positive and true positive rates from (0, 0) to (1, 1)."""
    counts = cumulate(truth, scores)
    return rate(counts.false_alarms), rate(counts.hits)


def precision_recall_curve(
    truth: Truth, scores: Scores
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall, ascending, and the precision at each recall."""
    counts = cumulate(truth, scores)
    precision = counts.hits / np.maximum(1, counts.hits + counts.false_alarms)
    return rate(counts.hits), precision


def average_precision(truth: Truth, scores: Scores) -> float:
    """The mean precision over the recall that each threshold adds."""
    recall, precision = precision_recall_curve(truth, scores)
    return float(np.sum(np.diff(recall, prepend=0) * precision))


def sensitivity_at(specificity: float, truth: Truth, scores: Scores) -> float:
    """The highest sensitivity (recall) of the thresholds with at least this specificity."""
    false_rates, true_rates = roc_curve(truth, scores)
    allowed = false_rates <= 1 - specificity + 1e-12
    return float(true_rates[allowed].max()) if allowed.any() else float("nan")


def cumulate(truth: Truth, scores: Scores) -> Cumulated:
    """The counts at each distinct score, preceded by the threshold that nothing passes."""
    order = np.argsort(-scores, kind="stable")
    found, ordered = truth[order], scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)[: len(order)])
    hits = np.append(0.0, np.cumsum(found, dtype=np.float64)[last])
    false_alarms = np.append(0.0, np.cumsum(~found, dtype=np.float64)[last])
    return Cumulated(hits, false_alarms)


def rate(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts as shares of the last one; NaN when that is 0."""
    return counts / counts[-1] if counts[-1] else np.full_like(counts, np.nan)
