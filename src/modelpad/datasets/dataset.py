"""A loaded data set: what it is, its classes, and one or two splits.

It is independent of where the items come from and what they are used for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelpad.datasets.options import Task
from modelpad.datasets.split import Split
from modelpad.errors import DataSetInvalid


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """A named data set.

    `classes` names the classes, or the labels when an item may have several; () otherwise.
    `value_names` names the columns of a regression's targets. `skipped` names the files
    skipped because they could not be read, each with the reason. `test` is None if the source has
    only one split. `files` are all files it was read from; `location` is the folder, archive or
    table that holds them, None for data that comes with a package. `verified`: its content has the
    expected SHA-256, the official one or the one the user gave. `notes` say what of the source is
    not in the data set. `unlabelled` are items without a target, to learn from in other ways.
    """

    name: str
    title: str
    licence: str
    source: str
    classes: tuple[str, ...]
    train: Split
    test: Split | None = None
    skipped: tuple[str, ...] = ()
    task: Task = "classification"
    value_names: tuple[str, ...] = ()
    location: Path | None = None
    files: tuple[Path, ...] = ()
    verified: bool = False
    notes: tuple[str, ...] = ()
    unlabelled: Split | None = None

    def __post_init__(self) -> None:
        for split in self.splits().values():
            check_targets(self, split)

    def splits(self) -> dict[str, Split]:
        """The splits there are, by name: always `train`, often `test`."""
        return {"train": self.train} | ({} if self.test is None else {"test": self.test})

    def count_classes(self, split: Split) -> dict[str, int]:
        """How many items of `split` have each class, in the order of the classes."""
        if self.task == "classification":
            counts = np.bincount(split.labels, minlength=len(self.classes))
        else:
            counts = np.count_nonzero(split.targets[:, : len(self.classes)], axis=0)
        return dict(zip(self.classes, counts.tolist(), strict=True))


def check_targets(data: DataSet, split: Split) -> None:
    """Raises DataSetInvalid when the targets do not fit the task and its names."""
    if data.task == "classification":
        labels = split.labels
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(data.classes):
            raise DataSetInvalid(
                f"{data.name} has labels from {labels.min()} to {labels.max()}"
                f" but {len(data.classes)} classes.",
                hint="The labels are damaged: get the data set again.",
                path=data.name,
            )
        return
    columns = len(data.classes) if data.task == "multi-label" else len(data.value_names)
    kind = np.bool_ if data.task == "multi-label" else np.float32
    if split.targets.shape != (len(split), columns) or split.targets.dtype != kind:
        raise DataSetInvalid(
            f"{data.name} has targets {split.targets.dtype} of shape {split.targets.shape},"
            f" but {data.task} with {columns} columns needs {np.dtype(kind)}"
            f" ({len(split)}, {columns}).",
            hint="Give every item one value for each column.",
            path=data.name,
        )
