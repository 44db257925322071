"""The charts of an evaluation: confusion, ROC, precision-recall, reliability, predicted values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelpad.training.calibration import bin_reliability, calibration_error
from modelpad.training.charts import (
    FADED,
    SHADES,
    add_grid,
    add_legend,
    new_chart,
    save_chart,
    shorten,
)
from modelpad.training.findings import Figure
from modelpad.training.ranking import (
    area_under_roc,
    average_precision,
    precision_recall_curve,
    roc_curve,
)

MAX_NAMED = 20  # classes with names and counts in the confusion matrix
MAX_CURVES = 8
MAX_POINTS = 5000
SHARES = (-0.02, 1.02)


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """A class with its items: `truth` bool (N,), its `scores` float (N,)."""

    name: str
    truth: NDArray[np.bool_]
    scores: NDArray[np.float32]


def draw_confusion(confusion: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """The matrix (C, C), with the counts in its cells unless there are too many classes."""
    side = min(8.0, 3.4 + 0.35 * len(classes))
    drawing, axis = new_chart(side, side, fitted=True)
    shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
    axis.imshow(shares, cmap=SHADES, vmin=0, vmax=1, interpolation="none")
    axis.set(xlabel="predicted", ylabel="true")
    if len(classes) <= MAX_NAMED:
        names = [shorten(name) for name in classes]
        axis.set_xticks(range(len(classes)), names, rotation=45, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(classes)), names)
        for row, column in np.argwhere(confusion):
            colour = "white" if shares[row, column] > 0.5 else "black"
            count = f"{confusion[row, column]:,}"
            text = axis.text(column, row, count, color=colour)
            text.set(ha="center", va="center", fontsize=9 if len(classes) <= 10 else 7)
    alt = "confusion matrix: rows are true classes, columns predicted ones"
    return Figure("report/confusion.svg", "Confusion matrix", alt, save_chart(drawing))


def draw_rankings(rankings: Sequence[Ranking]) -> list[Figure]:
    """ROC and precision-recall curves of up to eight classes, those with the lowest areas."""
    if not rankings:
        return []
    shown = sorted(rankings, key=lambda each: area_under_roc(each.truth, each.scores))[:MAX_CURVES]
    what = "Each class against all others" if len(rankings) > 1 else f"{shown[0].name} or not"
    more = f"; the {MAX_CURVES} lowest" if len(rankings) > len(shown) else ""
    return [draw_roc(shown, f"{what}{more}."), draw_precision(shown, f"{what}{more}.")]


def draw_roc(rankings: Sequence[Ranking], caption: str) -> Figure:
    """Sensitivity by specificity, with the areas under the curves."""
    drawing, axis = new_chart()
    for each in rankings:
        label = name_area(each, area_under_roc(each.truth, each.scores))
        axis.step(*roc_curve(each.truth, each.scores), where="post", label=label)
    axis.plot([0, 1], [0, 1], color=FADED, linestyle=":", label="chance")
    axis.set(title="ROC", xlabel="1 - specificity", ylabel="sensitivity", xlim=SHARES, ylim=SHARES)
    add_grid(axis)
    add_legend(axis, "area under the curve", "lower right")
    alt = f"ROC curves of {', '.join(each.name for each in rankings)}"
    return Figure("report/roc.svg", "Ranking", alt, save_chart(drawing), caption=caption)


def draw_precision(rankings: Sequence[Ranking], caption: str) -> Figure:
    """Precision by recall, with the average precisions."""
    drawing, axis = new_chart()
    for each in rankings:
        label = name_area(each, average_precision(each.truth, each.scores))
        recall, precision = precision_recall_curve(each.truth, each.scores)
        axis.step(recall[1:], precision[1:], where="pre", label=label)
    axis.set(title="Precision and recall", xlabel="recall", ylabel="precision")
    axis.set(xlim=SHARES, ylim=SHARES)
    add_grid(axis)
    add_legend(axis, "average precision", "lower left")
    alt = f"precision-recall curves of {', '.join(each.name for each in rankings)}"
    return Figure("report/precision.svg", "Ranking", alt, save_chart(drawing), caption=caption)


def name_area(ranking: Ranking, area: float) -> str:
    """`ants 0.97`."""
    return f"{shorten(ranking.name)} {area:.3f}"


def draw_reliability(
    labels: NDArray[np.int64], series: Mapping[str, NDArray[np.float32]]
) -> Figure:
    """Accuracy by confidence for each set of scores (N, C); `series` names them."""
    drawing, axis = new_chart(4.6, 3.8)
    axis.plot([0, 1], [0, 1], color=FADED, linestyle=":", label="perfect")
    errors = []
    for name, scores in series.items():
        bins = bin_reliability(labels, scores)
        error = calibration_error(labels, scores)
        errors.append(f"{name} {error:.3f}")
        confidence = [each.confidence for each in bins]
        axis.plot(confidence, [each.accuracy for each in bins], marker="o", label=errors[-1])
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=SHARES, ylim=SHARES)
    add_grid(axis)
    add_legend(axis)
    alt = "accuracy by confidence; expected calibration error: " + ", ".join(errors)
    caption = (
        "Of the items predicted with a confidence of 80 %, 80 % should be correct."
        " The numbers are expected calibration errors."
    )
    return Figure("report/calibration.svg", "Calibration", alt, save_chart(drawing), False, caption)


def draw_values(
    targets: NDArray[np.float32], values: NDArray[np.float32], names: Sequence[str]
) -> list[Figure]:
    """Predicted against true values, both (N, K): a chart per column, at most 5,000 points each."""
    figures = []
    step = max(1, -(-len(targets) // MAX_POINTS))
    for column, name in enumerate(names):
        true, predicted = targets[::step, column], values[::step, column]
        drawing, axis = new_chart(4.2, 3.9)
        ends = [float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))]
        axis.plot(ends, ends, color=FADED, linestyle=":")
        axis.plot(true, predicted, ".", alpha=0.6)
        axis.set(title=shorten(name, 40), xlabel="true", ylabel="predicted")
        add_grid(axis)
        alt = f"predicted against true {name}"
        path = f"report/values-{column + 1}.svg"
        figures.append(Figure(path, "Predicted and true values", alt, save_chart(drawing)))
    return figures
