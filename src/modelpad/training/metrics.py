"""Metrics of classifiers, for one class per item or several, computed with NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """How one class was predicted: precision, recall and F1 are 0 where nothing was predicted."""

    precision: float
    recall: float
    f1: float
    support: int


def accuracy(labels: NDArray[np.int64], scores: NDArray[np.float32]) -> float:
    """The fraction of items (N,) whose highest score (N, classes) is that of the true class."""
    return float((scores.argmax(axis=1) == labels).mean())


def confusion(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """How often each true class (row) was predicted as each class (column): int64 (C, C)."""
    cells = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def count_classes(confusion: NDArray[np.int64]) -> list[ClassCounts]:
    """Precision, recall, F1 and support of each class, from a confusion matrix (C, C)."""
    return [
        count_class(int(hits), int(predicted), int(support))
        for hits, predicted, support in zip(
            confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1), strict=True
        )
    ]


def count_labels(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> list[ClassCounts]:
    """The same for items with any number of labels: both (N, K)."""
    return [
        count_class(int(hits), int(found), int(support))
        for hits, found, support in zip(
            (truth & predicted).sum(axis=0), predicted.sum(axis=0), truth.sum(axis=0), strict=True
        )
    ]


def count_class(hits: int, predicted: int, support: int) -> ClassCounts:
    """The counts of one class, which `hits` of `predicted` items have, of `support` that do."""
    precision, recall = hits / max(1, predicted), hits / max(1, support)
    return ClassCounts(precision, recall, 2 * hits / max(1, predicted + support), support)
