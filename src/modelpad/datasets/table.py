"""A data set from a table: texts or the names of image files, and a column or more of targets.

Independent of file formats (see `table_file`) or of which columns to take (see `columns`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.class_folders import SUFFIXES as IMAGE_SUFFIXES
from modelpad.datasets.class_folders import list_children
from modelpad.datasets.columns import (
    USUAL_TEXTS,
    Columns,
    Plan,
    find_classes,
    plan_columns,
    read_groups,
    read_targets,
)
from modelpad.datasets.dataset import DataSet
from modelpad.datasets.image_check import check_images
from modelpad.datasets.inputs import Inputs, Texts
from modelpad.datasets.options import LoadOptions, OnUnreadable
from modelpad.datasets.progress import Progress
from modelpad.datasets.split import Split
from modelpad.datasets.table_file import Cell, is_table, read_column_names, read_columns
from modelpad.errors import DataSetInvalid

NAMED_FILES = 3


class Loaded(NamedTuple):
    """The inputs of a table, their row numbers, and what was skipped."""

    inputs: Inputs
    kept: NDArray[np.int64]
    skipped: tuple[str, ...]
    files: tuple[Path, ...]
    names: tuple[str, ...] = ()


def find_tables(folder: Path) -> tuple[Path, Path | None] | None:
    """The tables of the train and test split in `folder`: `train.*` and `test.*`, or its only one.

    None when there is none, or several of other names.
    """
    tables = [child for child in list_children(folder) if is_table(child) and child.is_file()]
    by_stem = {table.name.split(".")[0].lower(): table for table in tables}
    if "train" in by_stem:
        return by_stem["train"], by_stem.get("test")
    return (tables[0], None) if len(tables) == 1 else None


def load_table(
    train: Path,
    test: Path | None = None,
    options: LoadOptions | None = None,
    on_unreadable: OnUnreadable = "refuse",
    progress: Progress | None = None,
) -> DataSet:
    """The rows of one or two tables. Names of image files are relative to the table's folder.

    Raises DataSetInvalid: unknown or unclear columns, a cell that does not fit, an image that is
    missing, outside the folder or cannot be read (unless skipped).
    """
    options = options or LoadOptions()
    plan = plan_columns(read_column_names(train), options.table)
    tables = [read_columns(path, plan.columns) for path in (train, test) if path is not None]
    classes = find_classes(tables[0], plan)
    if plan.task in ("classification", "multi-label") and len(classes) < 2:
        raise DataSetInvalid(
            f"{train} holds {len(classes)} class{'' if len(classes) == 1 else 'es'}"
            f" in {', '.join(plan.target_columns)}.",
            hint="A classifier needs at least two classes.",
            path=str(train),
        )
    joined = {name: [cell for table in tables for cell in table[name]] for name in plan.columns}
    loaded = load_inputs(train.parent, joined, plan, options, (on_unreadable, progress))
    targets = read_targets(joined, plan, classes)[loaded.kept]
    groups = read_groups(joined, plan)
    whole = Split(
        loaded.inputs, targets, loaded.names, None if groups is None else groups[loaded.kept]
    )
    train_rows = len(tables[0][plan.input_column])
    splits = whole.divide(int(np.count_nonzero(loaded.kept < train_rows)))
    name = train.resolve().parent.name if test is not None else train.name.split(".")[0]
    return DataSet(
        name=name,
        title=f"{name} (table)",
        licence="unknown",
        source=str(train),
        classes=classes,
        train=splits[0],
        test=None if test is None else splits[1],
        skipped=loaded.skipped,
        task=plan.task,
        value_names=plan.target_columns if plan.task == "regression" else (),
        location=train if test is None else train.parent,
        files=(*(path for path in (train, test) if path is not None), *loaded.files),
    )


def load_inputs(
    folder: Path,
    columns: Columns,
    plan: Plan,
    options: LoadOptions,
    reading: tuple[OnUnreadable, Progress | None],
) -> Loaded:
    """The texts, or the images whose names are in the column of inputs."""
    cells = columns[plan.input_column]
    if not names_images(plan.input_column, cells):
        texts = tuple(read_text(cell, row) for row, cell in enumerate(cells, start=1))
        return Loaded(Texts(texts), np.arange(len(texts)), (), ())
    files = tuple(find_image(folder, cell, row) for row, cell in enumerate(cells, start=1))
    if reading[0] == "refuse":
        require_files(folder, files)
    checked = check_images(folder, files, options, *reading)
    names = tuple(str(files[index].relative_to(folder)) for index in checked.kept.tolist())
    return Loaded(checked.inputs, checked.kept, checked.skipped, files, names)


def require_files(folder: Path, files: Sequence[Path]) -> None:
    """Raises DataSetInvalid, with the number and first names, when files are missing."""
    missing = [str(path.relative_to(folder)) for path in files if not is_file(path)]
    if not missing:
        return
    named = ", ".join(missing[:NAMED_FILES])
    more = f" and {len(missing) - NAMED_FILES:,} more" if len(missing) > NAMED_FILES else ""
    raise DataSetInvalid(
        f"{len(missing):,} of the {len(files):,} files that the table names are not in {folder}:"
        f" {named}{more}.",
        hint="Add the files, correct their names, or leave them out with --skip-unreadable.",
        path=str(folder),
        missing=tuple(missing),
    )


def is_file(path: Path) -> bool:
    """Whether a path is that of a file; a name that is too long is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def names_images(column: str, cells: Sequence[Cell]) -> bool:
    """Whether a column holds names of image files: its first cell has the suffix of one."""
    if column in USUAL_TEXTS or not cells or not isinstance(cells[0], str):
        return False
    return PurePosixPath(cells[0]).suffix.lower() in IMAGE_SUFFIXES


def read_text(cell: Cell, row: int) -> str:
    """A cell as a text. Raises DataSetInvalid when it is none."""
    if isinstance(cell, str):
        return cell
    raise DataSetInvalid(
        f"Row {row:,} has {type(cell).__name__} where a text was expected.",
        hint="Give every row a text, or name another column with --input-column.",
        row=row,
    )


def find_image(folder: Path, cell: Cell, row: int) -> Path:
    """The image file that a cell names, inside `folder`. Raises DataSetInvalid."""
    name = PurePosixPath(cell) if isinstance(cell, str) and "\0" not in cell else None
    if name is None or name.is_absolute() or ".." in name.parts or not name.parts:
        raise DataSetInvalid(
            f"Row {row:,} names {str(cell)[:200]!r}, which is not a file inside {folder}.",
            hint="Give file names relative to the folder of the table.",
            row=row,
        )
    return folder / name
