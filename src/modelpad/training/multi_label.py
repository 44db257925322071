"""What the test of a classifier with any number of labels per item found out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelpad.statistics import Interval
from modelpad.training.classification import (
    MAX_MISTAKES,
    count_independent,
    describe_test,
    format_share,
    widen_perfect,
)
from modelpad.training.evaluated import EvaluatedItems, draw_gallery
from modelpad.training.evaluation_figures import Ranking, draw_rankings
from modelpad.training.findings import ClassScores, Figure, Findings, Table
from modelpad.training.intervals import bootstrap_all
from modelpad.training.metrics import count_labels
from modelpad.training.ranking import area_under_roc, average_precision

THRESHOLD = 0.5

Truth = NDArray[np.bool_]
Scores = NDArray[np.float32]


def evaluate_multi_label(
    items: EvaluatedItems, truth: Truth, scores: Scores, classes: Sequence[str]
) -> Findings:
    """Everything the report says about `scores` (N, K), 0 to 1, for the labels `truth` (N, K).

    F1, precision and recall take a label as predicted from 0.5 on.
    """
    predicted = scores >= THRESHOLD
    counts = count_labels(truth, predicted)
    areas = [area_under_roc(truth[:, k], scores[:, k]) for k in range(len(classes))]
    intervals, subset = measure_intervals(items, truth, scores)
    class_scores = [
        ClassScores(name, each.support, each.precision, each.recall, each.f1, area, interval)
        for name, each, area, interval in zip(classes, counts, areas, intervals, strict=True)
    ]
    precisions = [average_precision(truth[:, k], scores[:, k]) for k in range(len(classes))]
    prefix = items.prefix
    metrics = {
        f"{prefix}_map": mean_defined(precisions),
        f"{prefix}_auc": mean_defined(areas),
        f"{prefix}_f1": float(np.mean([each.f1 for each in counts])),
        f"{prefix}_subset_accuracy": float((truth == predicted).all(axis=1).mean()),
    }
    rows = [
        (name, "" if np.isnan(value) else f"{value:.3f}")
        for name, value in zip(classes, precisions, strict=True)
    ]
    rankings = [
        Ranking(name, truth[:, k], scores[:, k])
        for k, name in enumerate(classes)
        if 0 < truth[:, k].sum() < len(truth)
    ]
    return Findings(
        metrics={name: value for name, value in metrics.items() if not np.isnan(value)},
        intervals={f"{prefix}_subset_accuracy": subset},
        classes=tuple(classes),
        class_scores=class_scores,
        figures=[*draw_rankings(rankings), *draw_mistakes(items, truth, scores, classes)],
        tables=[Table("Average precision", ("class", "average precision"), rows)],
        notes=describe_test(items, len(truth)),
        warnings=warn_of_chance(areas, intervals, classes),
    )


def measure_intervals(
    items: EvaluatedItems, truth: Truth, scores: Scores
) -> tuple[list[Interval], Interval]:
    """The intervals of each class's area under the ROC curve, and of the subset accuracy."""

    def measure(truth: Truth, scores: Scores) -> NDArray[np.float64]:
        areas = [area_under_roc(truth[:, k], scores[:, k]) for k in range(truth.shape[1])]
        return np.array([*areas, (truth == (scores >= THRESHOLD)).all(axis=1).mean()])

    groups = items.dependent_groups
    *areas, subset = bootstrap_all(measure, truth, scores, groups, items.seed)
    sizes = [count_independent(items, truth[:, k]) for k in range(truth.shape[1])]
    return [widen_perfect(area, size) for area, size in zip(areas, sizes, strict=True)], subset


def draw_mistakes(
    items: EvaluatedItems, truth: Truth, scores: Scores, classes: Sequence[str]
) -> list[Figure]:
    """The items with the largest single error."""
    errors = np.abs(truth - scores)
    worst = np.argsort(-errors.max(axis=1), kind="stable")[:MAX_MISTAKES].tolist()
    captions = []
    for index in worst:
        k = int(errors[index].argmax())
        if errors[index, k] > THRESHOLD:
            which = "" if truth[index, k] else "not "
            score = format_share(float(scores[index, k]))
            captions.append((index, f"{which}{classes[k]}, predicted with {score}"))
    return draw_gallery(items, "Worst mistakes", "mistakes", captions, in_bundle=True)


def warn_of_chance(
    areas: Sequence[float], intervals: Sequence[Interval], classes: Sequence[str]
) -> list[str]:
    """A sentence that names the classes which are not shown to be recognised at all."""
    named = [
        name
        for name, area, interval in zip(classes, areas, intervals, strict=True)
        if not np.isnan(area) and interval.low <= 0.5
    ]
    if not named:
        return []
    more = f" and {len(named) - 5} more" if len(named) > 5 else ""
    return [
        "On this test, the model is no better than chance for"
        f" {', '.join(named[:5])}{more}: the interval of the AUC includes 0.5."
    ]


def mean_defined(values: Sequence[float]) -> float:
    """The mean of the values that are not NaN; NaN if none is."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
