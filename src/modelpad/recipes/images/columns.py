"""Options for pictures that a table lists: its columns, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelpad.errors import UsageError
from modelpad.training.options import option

if TYPE_CHECKING:
    from modelpad.datasets import DataSet, TableOptions


@dataclass(frozen=True, slots=True)
class ColumnOptions:
    """Which columns of a table to use; without a table, none of them has an effect."""

    input_column: str | None = option(
        None, "the table's column of picture files, relative to the table", metavar="NAME"
    )
    target_column: tuple[str, ...] = option(
        (), "the table's column to predict; repeatable", metavar="NAME"
    )
    group: str | None = option(
        None,
        "the table's column of groups, such as patients, that no split may divide",
        metavar="COLUMN",
    )
    multi_label: bool = option(
        False,
        "any number of labels for each picture: one column with | between them, or columns of 0"
        " and 1",
    )
    regression: bool = option(False, "predict the numbers in the columns")

    def plan(self) -> TableOptions:
        """How to read the table. Raises `UsageError` for two tasks."""
        from modelpad.datasets import TableOptions
        from modelpad.datasets.columns import USUAL_TARGETS
        from modelpad.datasets.options import Task

        if self.multi_label and self.regression:
            raise UsageError(
                "--multi-label and --regression exclude each other.", hint="Give one of them."
            )
        task: Task | None = None
        if self.multi_label or self.regression:
            task = "multi-label" if self.multi_label else "regression"
        elif len(self.target_column) == 1 and self.target_column[0] not in USUAL_TARGETS:
            task = "classification"
        return TableOptions(self.input_column, self.target_column, task, self.group)

    def check(self, data: DataSet) -> None:
        """Raises `UsageError` if data without a table cannot be what was asked for."""
        for asked, name in ((self.multi_label, "multi-label"), (self.regression, "regression")):
            if asked and data.task != name:
                raise UsageError(
                    f"{data.name} is no table, so --{name} cannot be used.",
                    hint="Give a CSV file with the columns file_name and what to predict.",
                )
