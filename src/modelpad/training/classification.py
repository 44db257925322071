"""A classifier with one class per item after training: its fields, and what its test found out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelpad.convert import SourceModel
from modelpad.convert.plans import InputPlan, OutputPlan
from modelpad.fields import Familiarity, Field, Label
from modelpad.statistics import Interval, wilson
from modelpad.training.calibration import calibration_error
from modelpad.training.evaluated import EvaluatedItems, draw_gallery
from modelpad.training.evaluation_figures import (
    Ranking,
    draw_confusion,
    draw_rankings,
    draw_reliability,
)
from modelpad.training.findings import ClassScores, Figure, Findings, Table, join_findings
from modelpad.training.intervals import bootstrap, bootstrap_all
from modelpad.training.label_errors import find_wrong_labels
from modelpad.training.metrics import accuracy, confusion, count_classes
from modelpad.training.ranking import area_under_roc, sensitivity_at

MAX_MISTAKES = 24
WORST = "Worst mistakes"
MAX_WRONG_SHOWN = 12
MAX_WRONG_LISTED = 100
SPECIFICITIES = (0.90, 0.95)
TESTED_ONCE = "The test set was used once, after training, and not to choose the model."
OUT_OF_FOLD = "Cross-validated: each item was scored by a model that was trained without it."

Labels = NDArray[np.int64]
Scores = NDArray[np.float32]


def plan_fields(
    source: SourceModel,
    field: Field,
    classes: Sequence[str],
    familiarity: Familiarity | None = None,
) -> tuple[list[InputPlan], list[OutputPlan]]:
    """The plans for a model that takes `field` as it is and returns (N, classes) probabilities."""
    scores = [spec for spec in source.outputs if spec.item_shape == (len(classes),)]
    label = Label("label", tuple(classes), familiarity=familiarity)
    output = OutputPlan(label, (scores or source.outputs)[0])
    return [InputPlan(field, source.inputs[0])], [output]


def evaluate_classifier(
    items: EvaluatedItems,
    labels: Labels,
    scores: Scores,
    classes: Sequence[str],
    *,
    uncalibrated: Scores | None = None,
) -> Findings:
    """Everything the report says about probabilities `scores` (N, classes) for `labels` (N,).

    `uncalibrated` are the probabilities before temperature scaling. With two classes, the second
    is the one to be detected.
    """
    return _Evaluation(items, labels, scores, tuple(classes)).find(uncalibrated)


def list_wrong_labels(
    items: EvaluatedItems, labels: Labels, scores: Scores, classes: Sequence[str]
) -> Findings:
    """The likely wrong labels: a note, a table of the files, and the clearest as pictures.

    `scores` (N, classes) must be of models that did not see the item. Empty when there are none.
    """
    found = find_wrong_labels(labels, scores)
    if not found:
        return Findings()
    count = len(found)
    title = "Likely wrong labels"
    note = (
        f"{count:,} of {len(labels):,} labels are likely wrong: models that did not see the item"
        " are confident of another class."
    )
    more = f"The clearest {MAX_WRONG_LISTED} are listed." if count > MAX_WRONG_LISTED else ""
    rows = [
        (
            items.name(each.index),
            classes[each.given],
            classes[each.suggested],
            format_share(each.score),
        )
        for each in found[:MAX_WRONG_LISTED]
    ]
    captions = [
        (each.index, f"{classes[each.given]}; rather {classes[each.suggested]}?")
        for each in found[:MAX_WRONG_SHOWN]
    ]
    return Findings(
        tables=[
            Table(
                title,
                ("text" if items.texts else "file", "label", "suggested", "score"),
                rows,
                more,
            )
        ],
        figures=draw_gallery(items, title, "labels", captions),
        notes=[note],
    )


@dataclass(frozen=True, slots=True)
class _Evaluation:
    items: EvaluatedItems
    labels: Labels
    scores: Scores
    classes: tuple[str, ...]

    def find(self, uncalibrated: Scores | None) -> Findings:
        matrix = confusion(self.labels, self.scores.argmax(axis=1), len(self.classes))
        areas = self.measure_areas()
        class_scores = [
            ClassScores(name, counts.support, counts.precision, counts.recall, counts.f1, *area)
            for name, counts, area in zip(self.classes, count_classes(matrix), areas, strict=False)
        ]
        right = self.measure_accuracy()
        prefix = self.items.prefix
        metrics = {
            f"{prefix}_accuracy": accuracy(self.labels, self.scores),
            f"{prefix}_auc": areas[-1][0],
            f"{prefix}_f1": float(np.mean([each.f1 for each in class_scores])),
            **self.measure_sensitivities(),
            f"{prefix}_calibration_error": calibration_error(self.labels, self.scores),
        }
        found = Findings(
            metrics={name: value for name, value in metrics.items() if not np.isnan(value)},
            intervals={f"{prefix}_accuracy": right, f"{prefix}_auc": areas[-1][1]},
            classes=self.classes,
            class_scores=class_scores,
            confusion=matrix,
            figures=self.draw(matrix, uncalibrated),
            notes=describe_test(self.items, len(self.labels)),
            warnings=self.warn(right),
            tables=self.list_mistakes(),
        )
        wrong = list_wrong_labels(self.items, self.labels, self.scores, self.classes)
        return join_findings(found, wrong)

    def measure_accuracy(self) -> Interval:
        """Wilson's interval, which needs independent items; else the bootstrap's."""
        groups = self.items.dependent_groups
        if groups is None:
            right = int((self.scores.argmax(axis=1) == self.labels).sum())
            return wilson(right, len(self.labels))
        return bootstrap(accuracy, self.labels, self.scores, groups, self.items.seed)

    def measure_areas(self) -> list[tuple[float, Interval]]:
        """The area under the ROC curve of each class, and the one of the model; see `combine`."""

        def measure(labels: Labels, scores: Scores) -> NDArray[np.float64]:
            areas = [area_under_roc(labels == k, scores[:, k]) for k in range(len(self.classes))]
            return np.array([*areas, combine_areas(areas)])

        values = measure(self.labels, self.scores)
        groups = self.items.dependent_groups
        intervals = bootstrap_all(measure, self.labels, self.scores, groups, self.items.seed)
        sizes = [count_independent(self.items, self.labels == k) for k in range(len(self.classes))]
        sizes.append(min(sizes))
        return [
            (float(value), widen_perfect(interval, size))
            for value, interval, size in zip(values, intervals, sizes, strict=True)
        ]

    def measure_sensitivities(self) -> dict[str, float]:
        """With two classes, the sensitivity for the second at each fixed specificity."""
        if len(self.classes) != 2:
            return {}
        return {
            f"{self.items.prefix}_sensitivity_at_{round(100 * level)}_specificity": sensitivity_at(
                level, self.labels == 1, self.scores[:, 1]
            )
            for level in SPECIFICITIES
        }

    def draw(self, matrix: NDArray[np.int64], uncalibrated: Scores | None) -> list[Figure]:
        shown = range(1, 2) if len(self.classes) == 2 else range(len(self.classes))
        rankings = [
            Ranking(self.classes[k], self.labels == k, self.scores[:, k])
            for k in shown
            if 0 < np.count_nonzero(self.labels == k) < len(self.labels)
        ]
        series = {"as served": self.scores}
        if uncalibrated is not None:
            series = {"before": uncalibrated, "after temperature scaling": self.scores}
        return [
            draw_confusion(matrix, self.classes),
            *draw_rankings(rankings),
            draw_reliability(self.labels, series),
            *self.draw_mistakes(),
        ]

    def find_mistakes(self) -> NDArray[np.int64]:
        """The indices of the wrong predictions with the highest scores."""
        wrong = np.flatnonzero(self.scores.argmax(axis=1) != self.labels)
        confidence = self.scores.max(axis=1)[wrong]
        return wrong[np.argsort(-confidence, kind="stable")][:MAX_MISTAKES]

    def describe_mistake(self, index: int) -> tuple[str, str, str]:
        """Its class, the predicted one, and that one's score."""
        predicted = int(self.scores[index].argmax())
        score = format_share(float(self.scores[index, predicted]))
        return self.classes[self.labels[index]], self.classes[predicted], score

    def draw_mistakes(self) -> list[Figure]:
        """The worst mistakes, where they are images."""
        captions = []
        for index in self.find_mistakes().tolist():
            label, predicted, score = self.describe_mistake(index)
            captions.append((index, f"{label}, predicted {predicted} ({score})"))
        return draw_gallery(self.items, WORST, "mistakes", captions, in_bundle=True)

    def list_mistakes(self) -> list[Table]:
        """The worst mistakes, where they are texts."""
        if not self.items.texts:
            return []
        rows = [
            (self.items.name(index), *self.describe_mistake(index))
            for index in self.find_mistakes().tolist()
        ]
        return [Table(WORST, ("text", "label", "predicted", "score"), rows)]

    def warn(self, right: Interval) -> list[str]:
        """A sentence when the model is not shown to beat a constant answer."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        largest = int(counts.argmax())
        share = counts[largest] / len(self.labels)
        if right.low > share:
            return []
        value = format_share(accuracy(self.labels, self.scores))
        ends = f"{format_share(right.low)} to {format_share(right.high)}"
        return [
            "On this test, the model is no better than chance: its accuracy of"
            f" {value} (95 % interval {ends}) is not clearly above the {format_share(share)}"
            f" of always answering {self.classes[largest]!r}."
        ]


def describe_test(items: EvaluatedItems, count: int) -> list[str]:
    """How `count` items were scored, in sentences."""
    notes = [OUT_OF_FOLD if items.out_of_fold else TESTED_ONCE]
    groups = items.dependent_groups
    if groups is not None:
        notes.append(
            f"The {count:,} items belong to {len(np.unique(groups)):,} groups, such as patients or"
            " copies of one picture. Intervals resample groups, not items."
        )
    return notes


def combine_areas(areas: Sequence[float]) -> float:
    """The model's area: the second class's of two, else the mean over all that are defined."""
    if len(areas) == 2:
        return areas[1]
    defined = [area for area in areas if not np.isnan(area)]
    return float(np.mean(defined)) if defined else float("nan")


def count_independent(items: EvaluatedItems, truth: NDArray[np.bool_]) -> int:
    """How many groups the smaller side has: the items of a class, `truth` (N,), or all others."""
    groups = items.dependent_groups
    owners = np.arange(len(truth)) if groups is None else groups
    return min(len(np.unique(owners[truth])), len(np.unique(owners[~truth])))


def widen_perfect(interval: Interval, smaller: int) -> Interval:
    """An interval that is wide where no resample can show an error, as the ranking is perfect.

    Then the lower end is that of a proportion without error in `smaller` trials, the number of
    independent items on the side that has fewer.
    """
    if interval.low < 1:
        return interval
    return Interval(wilson(smaller, smaller).low, 1.0)


def format_share(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f} %"
