"""The model card: training data, metrics and known limitations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets import DataSet
from modelpad.foreign_json import Json


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

    `training` holds what the run cannot know, such as the optimizer. `confusion` is
    int64 (classes, classes), true classes in rows, predicted classes in columns.
    """

    title: str
    summary: str
    data: Sequence[DataRow]
    licence: str = ""
    architecture: str = ""
    parameters: int | None = None
    training: Mapping[str, Json] = field(default_factory=dict)
    classes: Sequence[str] = ()
    confusion: NDArray[np.int64] | None = None
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
    training: Mapping[str, Json],
    metrics: Mapping[str, float],
    history: Sequence[Mapping[str, float]],
    pictures: Sequence[Mapping[str, str]],
) -> bytes:
    """The content of `card.json`."""
    record: dict[str, object] = {
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
        "metrics": dict(metrics),
        "history": [{name: round(n, 5) for name, n in row.items()} for row in history],
        "limits": list(card.limits),
        "notes": list(card.notes),
        "pictures": [dict(picture) for picture in pictures],
    }
    if card.parameters is not None:
        record["parameters"] = card.parameters
    if card.confusion is not None:
        record["confusion"] = {"labels": list(card.classes), "matrix": card.confusion.tolist()}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
