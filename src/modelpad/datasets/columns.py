"""Which columns of a table are inputs and targets, and the targets as arrays.

Nothing is guessed from values: a column is used because it was named, or has one of the usual names
below. Independent of files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.class_folders import sort_names
from modelpad.datasets.options import TableOptions, Task
from modelpad.datasets.split import Targets
from modelpad.datasets.table_file import Cell
from modelpad.errors import DataSetInvalid
from modelpad.fields.label import LABEL_SEPARATOR

USUAL_TEXTS = ("text",)
USUAL_FILES = ("file_name", "filename", "file", "path", "image")
USUAL_TARGETS: dict[str, Task] = {
    "label": "classification",
    "class": "classification",
    "labels": "multi-label",
    "target": "regression",
}
YES_NO = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}

Columns = Mapping[str, Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns to read and what they are."""

    input_column: str
    target_columns: tuple[str, ...]
    task: Task
    group_column: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns to read."""
        group = () if self.group_column is None else (self.group_column,)
        return tuple(dict.fromkeys((self.input_column, *self.target_columns, *group)))


def plan_columns(names: Sequence[str], options: TableOptions) -> Plan:
    """The columns that `options` name, else those with usual names. Raises DataSetInvalid."""
    usual = (name for name in (*USUAL_TEXTS, *USUAL_FILES) if name in names)
    source = options.input_column or next(usual, None)
    if source is None:
        raise unclear(
            "No column is called text, file_name, filename, file, path or image.",
            names,
            "Name the column of texts or image files: --input-column NAME.",
        )
    if options.task == "unlabelled":
        targets: tuple[str, ...] = ()
    else:
        found = (name for name in USUAL_TARGETS if name in names and name != source)
        targets = options.target_columns or tuple(name for name in [next(found, None)] if name)
    group = options.group_column
    for name in (source, *targets, *([] if group is None else [group])):
        if name not in names:
            raise unclear(f"There is no column {name!r}.", names, "Check the name of the column.")
    return Plan(source, targets, choose_task(names, targets, options.task), group)


def choose_task(names: Sequence[str], targets: Sequence[str], task: Task | None) -> Task:
    """The given task, else the one implied by the column's name."""
    if task is None and not targets:
        return "unlabelled"
    chosen = task or (USUAL_TARGETS.get(targets[0]) if len(targets) == 1 else None)
    if chosen is None:
        raise unclear(
            f"The type of the target {', '.join(targets)} is unclear.",
            names,
            "Say what it is: --task classification, multi-label or regression; to train,"
            " --multi-label or --regression.",
        )
    if chosen != "unlabelled" and not targets:
        raise unclear(
            f"There is no target column for {chosen}.", names, "Name it: --target-column NAME."
        )
    if chosen == "classification" and len(targets) > 1:
        raise unclear(
            f"A classification has one target column, not {len(targets)}.",
            names,
            "Use --task multi-label for several columns of 0 and 1.",
        )
    return chosen


def find_classes(columns: Columns, plan: Plan) -> tuple[str, ...]:
    """The names of the classes in the targets, sorted, as numbers when all are; () if none."""
    cells = columns[plan.target_columns[0]] if plan.target_columns else ()
    if plan.task == "classification":
        return sort_names({read_class(cell, row) for row, cell in enumerate(cells, start=1)})
    if plan.task != "multi-label":
        return ()
    if len(plan.target_columns) > 1:
        return plan.target_columns
    return sort_names({name for cell in cells for name in split_labels(cell)})


def read_targets(columns: Columns, plan: Plan, classes: Sequence[str]) -> Targets:
    """The targets of all rows; see `Split.targets`. Raises DataSetInvalid, naming the row."""
    cells = [columns[name] for name in plan.target_columns]
    if plan.task == "classification":
        return read_class_indices(cells[0], classes)
    if plan.task == "multi-label":
        return read_label_sets(cells, classes)
    rows = len(columns[plan.input_column])
    values = np.empty((rows, len(cells)), np.float32)
    for place, column in enumerate(cells):
        values[:, place] = [read_value(cell, row) for row, cell in enumerate(column, start=1)]
    return values


def read_groups(columns: Columns, plan: Plan) -> NDArray[np.int64] | None:
    """The number of each row's group, int64 (N,); None if no column holds groups."""
    return None if plan.group_column is None else number_groups(columns[plan.group_column])


def number_groups(cells: Sequence[Cell]) -> NDArray[np.int64]:
    """Equal numbers for equal cells, int64 (N,); a row with an empty cell is a group of its own."""
    numbers: dict[object, int] = {}
    texts = ("" if cell is None else str(cell).strip() for cell in cells)
    keys = [text or row for row, text in enumerate(texts)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def read_class_indices(cells: Sequence[Cell], classes: Sequence[str]) -> NDArray[np.int64]:
    """The index of each row's class, int64 (N,)."""
    places = {name: place for place, name in enumerate(classes)}
    names = [read_class(cell, row) for row, cell in enumerate(cells, start=1)]
    check_known(names, places)
    return np.array([places[name] for name in names], np.int64)


def read_label_sets(cells: Sequence[Sequence[Cell]], classes: Sequence[str]) -> NDArray[np.bool_]:
    """Which labels each row has, bool (N, K)."""
    found = np.zeros((len(cells[0]), len(classes)), np.bool_)
    if len(cells) > 1:
        for place, column in enumerate(cells):
            found[:, place] = [read_flag(cell, row) for row, cell in enumerate(column, start=1)]
        return found
    places = {name: place for place, name in enumerate(classes)}
    for row, cell in enumerate(cells[0]):
        names = split_labels(cell)
        check_known(names, places)
        found[row, [places[name] for name in names]] = True
    return found


def check_known(names: Sequence[str], places: Mapping[str, int]) -> None:
    """Raises DataSetInvalid when a name is no class of the train split."""
    unknown = sorted(set(names) - places.keys())
    if unknown:
        raise DataSetInvalid(
            f"The test split has classes that train does not have: {', '.join(unknown[:5])}.",
            hint=f"The classes in train are: {', '.join(list(places)[:20])}.",
            classes=unknown,
        )


def read_class(cell: Cell, row: int) -> str:
    """The name of a class: the text itself, or an integer or boolean as text."""
    name = str(cell) if isinstance(cell, str | int) else ""
    if not name.strip():
        raise bad_cell(row, cell, "a class")
    return name


def split_labels(cell: Cell) -> list[str]:
    """The labels of one item: a list, or a text with `|` between them."""
    if isinstance(cell, list):
        return cell
    text = "" if cell is None else str(cell)
    return [name.strip() for name in text.split(LABEL_SEPARATOR) if name.strip()]


def read_flag(cell: Cell, row: int) -> bool:
    """A cell of 0 or 1, true or false, yes or no."""
    flag = YES_NO.get(str(cell).strip().lower())
    if flag is None:
        raise bad_cell(row, cell, "0 or 1")
    return flag


def read_value(cell: Cell, row: int) -> float:
    """A finite number."""
    try:
        value = float(cell) if isinstance(cell, str | int | float) else math.nan
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value) or abs(value) > float(np.finfo(np.float32).max):
        raise bad_cell(row, cell, "a finite number")
    return value


def bad_cell(row: int, cell: Cell, expected: str) -> DataSetInvalid:
    """The error for a cell that cannot be a target; to be raised by the caller."""
    return DataSetInvalid(
        f"Row {row:,} has {str(cell)[:40]!r} where {expected} was expected.",
        hint="Correct that row, or remove it.",
        row=row,
        expected=expected,
    )


def unclear(problem: str, names: Sequence[str], hint: str) -> DataSetInvalid:
    """The error for a table whose columns are ambiguous; to be raised by the caller."""
    return DataSetInvalid(
        f"{problem} The columns are: {', '.join(names[:20])}.", hint=hint, columns=list(names)
    )
