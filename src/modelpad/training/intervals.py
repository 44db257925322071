"""Confidence intervals of any metric by resampling the items that it was measured on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpad.statistics import LEVEL, Interval

ROUNDS = 1000
MIN_ROUNDS = 200
RESAMPLED_ITEMS = 2_000_000  # fewer rounds for many items, whose intervals are narrow anyway

Metric = Callable[[NDArray[Any], NDArray[np.float32]], float]
Metrics = Callable[[NDArray[Any], NDArray[np.float32]], NDArray[np.float64]]


def bootstrap(
    metric: Metric,
    labels: NDArray[np.generic],
    scores: NDArray[np.float32],
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The percentile interval of `metric(labels, scores)` over resampled items.

    `labels` (N,) or (N, K) and `scores` (N, ...) are resampled together, with replacement: within
    each class when labels are int64 (N,), else over all. Items of one of the `groups` (N,), such
    as the pictures of one patient, are drawn together. Resamples without a result (NaN) do not
    count; Interval(nan, nan) if none has one. Efron and Tibshirani 1993, chapter 13.
    """

    def measure(labels: NDArray[np.generic], scores: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.array([metric(labels, scores)])

    return bootstrap_all(measure, labels, scores, groups, seed, level)[0]


def bootstrap_all(
    metrics: Metrics,
    labels: NDArray[np.generic],
    scores: NDArray[np.float32],
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
    level: float = LEVEL,
) -> list[Interval]:
    """The same for a function that returns several metrics (K,) at a time: K intervals."""
    rng = np.random.default_rng([seed, 17])
    strata = stratify(labels, groups)
    rounds = max(MIN_ROUNDS, min(ROUNDS, RESAMPLED_ITEMS // max(1, len(labels))))
    found = []
    for _ in range(rounds):
        chosen = np.concatenate([resample(stratum, rng) for stratum in strata])
        found.append(metrics(labels[chosen], scores[chosen]))
    return [percentiles(values, level) for values in np.array(found).T]


def percentiles(values: NDArray[np.float64], level: float) -> Interval:
    """The middle `level` of the values (N,) that are not NaN."""
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(np.nan, np.nan)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


Members = NDArray[np.int64] | list[NDArray[np.int64]]
"""The indices of single items, or of those of each group."""


def stratify(labels: NDArray[np.generic], groups: NDArray[np.int64] | None) -> list[Members]:
    """The items of each class, by group; a group belongs to its first item's class."""
    classes = labels if is_single_label(labels) else np.zeros(len(labels), np.int64)
    if groups is None:
        return [np.flatnonzero(classes == label) for label in np.unique(classes)]
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    strata: dict[int, list[NDArray[np.int64]]] = {}
    for group in np.split(order, starts):
        strata.setdefault(int(classes[group[0]]), []).append(group)
    return [*strata.values()]


def resample(members: Members, rng: np.random.Generator) -> NDArray[np.int64]:
    """As many of the items or groups as there are, drawn with replacement."""
    drawn = rng.integers(0, len(members), len(members))
    if isinstance(members, np.ndarray):
        return members[drawn]
    return np.concatenate([members[number] for number in drawn])


def is_single_label(labels: NDArray[np.generic]) -> bool:
    """Whether each item has exactly one class."""
    return labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer)
