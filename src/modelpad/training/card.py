"""The model card: training data, what the test found, and known limitations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelpad.datasets import DataSet
from modelpad.foreign_json import Json, dump_json
from modelpad.statistics import Interval
from modelpad.training.findings import ClassScores, Figure, Findings


@dataclass(frozen=True, slots=True)
class DataRow:
    """A data set, and what it was used for."""

    name: str
    examples: int
    licence: str
    role: str


@dataclass(frozen=True, slots=True)
class Card:
    """A recipe's description of its model.

    `training` holds what the run cannot know, such as the optimizer. `warning` is what everyone who
    uses the model must know first: the page shows it above the inputs.
    """

    title: str
    summary: str
    data: Sequence[DataRow]
    licence: str = ""
    architecture: str = ""
    parameters: int | None = None
    training: Mapping[str, Json] = field(default_factory=dict)
    warning: str = ""
    limits: Sequence[str] = ()
    notes: Sequence[str] = ()


def describe_data(data: DataSet) -> DataRow:
    """The card's entry for a data set."""
    role = f"{len(data.train):,} for training"
    if data.test is not None:
        role += f", {len(data.test):,} for testing"
    return DataRow(data.title, sum(map(len, data.splits().values())), data.licence, role)


def write_card(
    card: Card,
    findings: Findings,
    training: Mapping[str, Json],
    history: Sequence[Mapping[str, float]],
    pictures: Sequence[Figure],
) -> bytes:
    """The content of `card.json`; null for a number that is not finite."""
    record: dict[str, object] = {
        "warnings": list_warnings(card, findings),
        "title": card.title,
        "summary": card.summary,
        "data": [
            {
                "name": row.name,
                "examples": row.examples,
                "licence": row.licence,
                "role": row.role,
            }
            for row in card.data
        ],
        "architecture": card.architecture,
        "training": dict(training),
        "metrics": dict(findings.metrics),
        "intervals": {name: list_ends(each) for name, each in findings.intervals.items()},
        "classes": [describe_class(each) for each in findings.class_scores],
        "history": [{name: round(n, 5) for name, n in row.items()} for row in history],
        "limits": list(card.limits),
        "notes": list(dict.fromkeys((*card.notes, *findings.notes))),
        "pictures": [
            {"title": each.title, "file": each.path, "caption": each.caption, "alt": each.alt}
            for each in pictures
        ],
    }
    if card.parameters is not None:
        record["parameters"] = card.parameters
    if findings.confusion is not None:
        matrix = findings.confusion.tolist()
        record["confusion"] = {"labels": list(findings.classes), "matrix": matrix}
    return dump_json(record)


def list_warnings(card: Card, findings: Findings) -> list[str]:
    """What must be read first: the recipe's warning, then those of the test."""
    return [*([card.warning] if card.warning else []), *findings.warnings]


def describe_class(scores: ClassScores) -> dict[str, Json]:
    """A class's scores as JSON."""
    return {
        "name": scores.name,
        "support": scores.support,
        "precision": round(scores.precision, 5),
        "recall": round(scores.recall, 5),
        "f1": round(scores.f1, 5),
        "auc": round(scores.auc, 5),
        "auc_interval": list_ends(scores.auc_interval),
    }


def list_ends(interval: Interval) -> Json:
    """An interval as [low, high]; null if it is undefined."""
    if math.isnan(interval.low):
        return None
    return [round(interval.low, 5), round(interval.high, 5)]
