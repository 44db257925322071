"""What an evaluation found out about a model: the content of its report and card.

It knows nothing of how the findings were made, nor of how they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from modelpad.statistics import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the report: PNG, JPEG or SVG at `path` in the run folder.

    `in_bundle` also includes it in the bundle, for the model's web page. Consecutive figures with
    the same title are shown side by side under one heading, each with its `caption`.
    """

    path: str
    title: str
    alt: str
    content: bytes
    in_bundle: bool = False
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the report. Cells are texts, as shown; `note` is a sentence below the title."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """How well one class is recognised; `support` counts its items.

    `auc` is the area under the ROC curve of this class against all others, NaN where undefined.
    """

    name: str
    support: int
    precision: float
    recall: float
    f1: float
    auc: float
    auc_interval: Interval


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings of one evaluation, or of several joined.

    `metrics` maps names such as `test_accuracy` to values, `intervals` some of them to confidence
    intervals. `confusion` is int64 (classes, classes), true classes in rows, predicted classes in
    columns. `warnings` are sentences that nobody should miss; `notes` say how to read the figures.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    classes: Sequence[str] = ()
    class_scores: Sequence[ClassScores] = ()
    confusion: NDArray[np.int64] | None = None
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()


def join_findings(first: Findings, second: Findings) -> Findings:
    """Both findings; where only one can be kept, such as the confusion matrix, the first's."""
    return Findings(
        metrics={**first.metrics, **second.metrics},
        intervals={**first.intervals, **second.intervals},
        classes=first.classes or second.classes,
        class_scores=first.class_scores or second.class_scores,
        confusion=second.confusion if first.confusion is None else first.confusion,
        figures=(*first.figures, *second.figures),
        tables=(*first.tables, *second.tables),
        notes=tuple(dict.fromkeys((*first.notes, *second.notes))),
        warnings=tuple(dict.fromkeys((*first.warnings, *second.warnings))),
    )


def join_sets(sets: Mapping[str, Findings]) -> Findings:
    """The findings on several sets of items, by what the sets are called.

    If there is more than one, each figure and table says on which set it was made, and the files of
    each set have a folder of their own.
    """
    present = {words: found for words, found in sets.items() if found.metrics}
    if len(present) < 2:
        return next(iter(present.values()), Findings())
    joined = Findings()
    for words, found in present.items():
        joined = join_findings(joined, _name_set(found, words))
    if joined.class_scores:
        words = next(words for words, found in present.items() if found.class_scores)
        joined = replace(joined, notes=(*joined.notes, f"The scores by class: {words}."))
    return joined


def _name_set(found: Findings, words: str) -> Findings:
    folder = words.replace(" ", "-")
    return replace(
        found,
        figures=[
            replace(
                each,
                title=f"{each.title}, {words}",
                path=each.path.replace("report/", f"report/{folder}/", 1),
            )
            for each in found.figures
        ],
        tables=[replace(each, title=f"{each.title}, {words}") for each in found.tables],
    )
