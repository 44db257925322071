"""Classification metrics, computed with NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def accuracy(labels: NDArray[np.int64], scores: NDArray[np.float32]) -> float:
    """The fraction of items (N,) whose highest score (N, classes) is that of the true class."""
    return float((scores.argmax(axis=1) == labels).mean())


def confusion(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """How often each true class (row) was predicted as each class (column): int64 (C, C)."""
    cells = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)
