"""Tables of data sets: CSV, TSV and JSON Lines, with every task."""

from __future__ import annotations

from contextlib import suppress

from fuzz.files import make_folder
from modelpad.datasets.options import TASKS, LoadOptions, TableOptions
from modelpad.datasets.table import load_table
from modelpad.errors import ModelpadError

DECODERS = (
    "modelpad.datasets.table",
    "modelpad.datasets.table_file",
    "modelpad.datasets.columns",
)
FOLDER = make_folder()


def fuzz(data: bytes) -> None:
    """Loads the table with the columns of usual names, and with `a` and `b`."""
    for name in ("table.csv", "table.tsv", "table.jsonl"):
        path = FOLDER / name
        path.write_bytes(data)
        with suppress(ModelpadError):
            load_table(path, on_unreadable="skip")
        for task in TASKS:
            with suppress(ModelpadError):
                table = TableOptions("a", ("b",), task)
                load_table(path, options=LoadOptions(table=table), on_unreadable="skip")
