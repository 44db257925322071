"""How to read a data set that is not in a known format: images, tables, archives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from modelpad.datasets.pictures import Resize

OnUnreadable = Literal["refuse", "skip"]
Task = Literal["classification", "multi-label", "regression", "unlabelled"]
TASKS: tuple[Task, ...] = ("classification", "multi-label", "regression", "unlabelled")

MEMORY_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class TableOptions:
    """Which columns of a table to read.

    `input_column`: the texts, or the names of image files; by default the one with a
    usual name.
    `target_columns`: the columns to predict; by default the one with a usual name.
    `task`: type of the targets; None infers it from the usual names, see `columns.USUAL_TARGETS`.
    `group_column`: what items have in common that are not independent, such as a patient; None
    takes every item for independent.
    """

    input_column: str | None = None
    target_columns: tuple[str, ...] = ()
    task: Task | None = None
    group_column: str | None = None


@dataclass(frozen=True, slots=True)
class XrayOptions:
    """Which pictures of the COVID chest X-ray collection to use, and their two classes.

    A finding such as `Pneumonia/Viral/COVID-19` is of each kind that it begins with. `positive`
    findings are the second class of `names`; all others are the first, or only those of `negative`
    if any are given.
    """

    views: tuple[str, ...] = ("PA", "AP")
    positive: tuple[str, ...] = ("Pneumonia/Viral/COVID-19",)
    negative: tuple[str, ...] = ()
    names: tuple[str, str] = ("OTHER", "COVID-19")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to read a folder, table or archive.

    `resize`: the size of every image; None keeps each image's own.
    `channels`: 1 grey, 3 RGB; None takes RGB as soon as one image has colour.
    `memory_bytes`: images of one size that fit into this are kept in memory; others are decoded
    each time they are accessed.
    `sha256`: the expected SHA-256 of an archive, in hexadecimal; None does not compare.
    `xray`: which rows to use of the COVID chest X-ray collection.
    """

    resize: Resize | None = None
    channels: Literal[1, 3] | None = None
    memory_bytes: int = MEMORY_BYTES
    table: TableOptions = field(default_factory=TableOptions)
    sha256: str | None = None
    xray: XrayOptions = field(default_factory=XrayOptions)
