"""What the test of a model that predicts numbers found out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelpad.statistics import Interval
from modelpad.training.classification import MAX_MISTAKES, describe_test
from modelpad.training.evaluated import EvaluatedItems, draw_gallery
from modelpad.training.evaluation_figures import draw_values
from modelpad.training.findings import Figure, Findings, Table
from modelpad.training.intervals import bootstrap_all

Values = NDArray[np.float32]
NAMES = ("mae", "rmse", "r2")


def evaluate_regression(
    items: EvaluatedItems, targets: Values, values: Values, names: Sequence[str]
) -> Findings:
    """Everything the report says about predicted `values` (N, K) for `targets` (N, K).

    `names` are those of the K columns. Metrics are means over the columns; the table has each.
    """
    prefix = items.prefix
    groups = items.dependent_groups
    found = measure_errors(targets, values)
    flat = bootstrap_all(
        lambda targets, values: measure_errors(targets, values).reshape(-1),
        targets,
        values,
        groups,
        items.seed,
    )
    metrics = {
        f"{prefix}_{name}": float(found[n].mean())
        for n, name in enumerate(NAMES)
        if np.isfinite(found[n]).all()
    }
    intervals = {}
    if len(names) == 1:
        intervals = {f"{prefix}_{name}": flat[n] for n, name in enumerate(NAMES)}
    ends = [[flat[n * len(names) + k] for n in range(3)] for k in range(len(names))]
    rows = [
        (
            name,
            *(format_error(float(found[n, k]), end) for n, end in enumerate(ends[k])),
        )
        for k, name in enumerate(names)
    ]
    title, columns = "Errors", ("value", "MAE (95 %)", "RMSE (95 %)", "R² (95 %)")
    return Findings(
        metrics=metrics,
        intervals={name: each for name, each in intervals.items() if name in metrics},
        figures=[*draw_values(targets, values, names), *draw_mistakes(items, targets, values)],
        tables=[Table(title, columns, rows)],
        notes=describe_test(items, len(targets)),
        warnings=[
            f"On this test, the model predicts {name!r} no better than its mean would."
            for k, name in enumerate(names)
            if not np.isnan(found[2, k]) and ends[k][2].low <= 0
        ],
    )


def measure_errors(targets: Values, values: Values) -> NDArray[np.float64]:
    """Mean absolute error, root mean squared error and R² of each column: (3, K).

    R² is NaN for a column whose targets are all equal.
    """
    exact = targets.astype(np.float64)
    errors = values - exact
    squares = (errors**2).mean(axis=0)
    spread = exact.var(axis=0)
    r2 = np.where(spread > 0, 1 - squares / np.where(spread > 0, spread, 1), np.nan)
    return np.stack([np.abs(errors).mean(axis=0), np.sqrt(squares), r2])


def draw_mistakes(items: EvaluatedItems, targets: Values, values: Values) -> list[Figure]:
    """The items with the largest errors, in units of each column's spread."""
    spread = np.maximum(targets.std(axis=0), 1e-12)
    worst = np.argsort(-(np.abs(values - targets) / spread).max(axis=1), kind="stable")
    captions = [
        (int(n), f"{describe(targets[n])}, predicted {describe(values[n])}")
        for n in worst[:MAX_MISTAKES]
    ]
    return draw_gallery(items, "Largest errors", "mistakes", captions, in_bundle=True)


def format_error(value: float, interval: Interval) -> str:
    """`0.5 (0.4 to 0.6)`; empty for NaN."""
    return "" if np.isnan(value) else f"{value:.4g} ({interval.low:.4g} to {interval.high:.4g})"


def describe(row: Values) -> str:
    """A few numbers in short."""
    more = ", …" if len(row) > 3 else ""
    return ", ".join(f"{value:.4g}" for value in row[:3].tolist()) + more
