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
    """

    input_column: str | None = None
    target_columns: tuple[str, ...] = ()
    task: Task | None = None


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to read a folder, table or archive.

    `resize`: the size of every image; None keeps each image's own.
    `channels`: 1 grey, 3 RGB; None takes RGB as soon as one image has colour.
    `memory_bytes`: images of one size that fit into this are kept in memory; others are decoded
    each time they are accessed.
    `sha256`: the expected SHA-256 of an archive, in hexadecimal; None does not compare.
    """

    resize: Resize | None = None
    channels: Literal[1, 3] | None = None
    memory_bytes: int = MEMORY_BYTES
    table: TableOptions = field(default_factory=TableOptions)
    sha256: str | None = None
