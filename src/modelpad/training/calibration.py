"""Whether scores are probabilities: temperature scaling, reliability and calibration error.

Guo et al. 2017, "On calibration of modern neural networks".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COLDEST, HOTTEST = 0.05, 20.0
STEPS = 60
BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Items predicted with a similar confidence: their mean confidence, accuracy and number."""

    confidence: float
    accuracy: float
    count: int


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The temperature T for which softmax(logits / T) has the lowest log loss, 0.05 to 20.

    `logits` (N, classes) and `labels` (N,) are of validation items, unseen in training. 1.0 for no
    items. The loss is convex in 1 / T, so a golden-section search finds the minimum.
    """
    if not len(labels):
        return 1.0
    exact = logits.astype(np.float64)
    low, high = 1 / HOTTEST, 1 / COLDEST
    ratio = (5**0.5 - 1) / 2
    for _ in range(STEPS):
        first, second = high - ratio * (high - low), low + ratio * (high - low)
        if log_loss(exact * first, labels) < log_loss(exact * second, labels):
            high = second
        else:
            low = first
    return float(2 / (low + high))


def fit_blend(
    logits: NDArray[np.floating], others: NDArray[np.floating], labels: NDArray[np.int64]
) -> tuple[float, float]:
    """Weights a and b for which softmax(a * logits + b * others) has the lowest log loss.

    Both kinds of logits (N, classes) are of validation items, unseen in training (stacking: Wolpert
    1992). a is 0.05 to 20, b 0 to 20.
    """
    from scipy.optimize import minimize

    first, second = logits.astype(np.float64), others.astype(np.float64)
    found = minimize(
        lambda weights: log_loss(weights[0] * first + weights[1] * second, labels),
        np.array([1.0, 0.0]),
        bounds=[(1 / HOTTEST, 1 / COLDEST), (0.0, 1 / COLDEST)],
    )
    return float(found.x[0]), float(found.x[1])


def soften(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float32]:
    """softmax(logits / temperature), float32 (N, classes)."""
    return np.exp(log_softmax(logits.astype(np.float64) / temperature)).astype(np.float32)


def log_loss(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The mean negative logarithm of the true classes' probabilities."""
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm of the softmax, without overflow."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised


def bin_reliability(
    labels: NDArray[np.int64], scores: NDArray[np.float32], bins: int = BINS
) -> list[Bin]:
    """The items by the score (N, classes) of their predicted class, in `bins` of equal width.

    Bins without items are left out.
    """
    confidence = scores.max(axis=1).astype(np.float64)
    correct = scores.argmax(axis=1) == labels
    places = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    found = []
    for place in range(bins):
        inside = places == place
        if count := int(inside.sum()):
            mean = float(confidence[inside].mean())
            found.append(Bin(mean, float(correct[inside].mean()), count))
    return found


def calibration_error(labels: NDArray[np.int64], scores: NDArray[np.float32]) -> float:
    """The expected calibration error: the mean gap between confidence and accuracy, 0 to 1."""
    bins = bin_reliability(labels, scores)
    gaps = sum(each.count * abs(each.confidence - each.accuracy) for each in bins)
    return gaps / max(1, len(labels))
