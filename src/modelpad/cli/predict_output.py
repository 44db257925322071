"""Writes predictions: lines to read, JSON lines, one JSON array, or CSV.

Pictures are written into a folder, if there is one; a terminal never shows their base64.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from modelpad.cli.listing import make_printable
from modelpad.errors import ModelpadError, UsageError
from modelpad.fields.csv_table import CsvTable

if TYPE_CHECKING:
    from modelpad.cli.items import Item
    from modelpad.fields.signature import Signature
    from modelpad.store import ResolvedBundle

FORMATS = ("text", "json", "jsonl", "csv")
SUFFIXES = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "text"}
PICTURE = "data:image/png;base64,"


class Writer(Protocol):
    """Writes one item after another."""

    def write(self, item: Item, outputs: Mapping[str, object]) -> None:
        """Writes the prediction of an item. Raises `TooLarge` for one that does not fit."""

    def fail(self, item: Item, error: ModelpadError) -> bool:
        """Writes an error. Returns whether the output has a place for it."""

    def close(self) -> None:
        """Writes the end."""


@dataclass(slots=True)
class LineWriter:
    """`FILE  LABEL  CONFIDENCE %`."""

    out: TextIO

    def write(self, item: Item, outputs: Mapping[str, object]) -> None:
        words = [item.title, *(describe_output(value) for value in outputs.values())]
        print(make_printable("  ".join(words)), file=self.out)

    def fail(self, item: Item, error: ModelpadError) -> bool:
        return False

    def close(self) -> None:
        pass


@dataclass(slots=True)
class JsonWriter:
    """A JSON object for each item, on a line of its own or, as an `array`, in one document."""

    out: TextIO
    model: ResolvedBundle
    array: bool = False
    count: int = 0

    def write(self, item: Item, outputs: Mapping[str, object]) -> None:
        only = next(iter(outputs.values()))
        flat = only if len(outputs) == 1 and isinstance(only, dict) else {"outputs": {**outputs}}
        self._write(item, flat)

    def fail(self, item: Item, error: ModelpadError) -> bool:
        if item.row is None and not self.array:
            return False
        described = {"message": error.message, "hint": error.hint, **error.details}
        self._write(item, {"error": described})
        return True

    def close(self) -> None:
        if self.array:
            self.out.write("\n]\n" if self.count else "[]\n")

    def _write(self, item: Item, found: Mapping[str, object]) -> None:
        record = {"input": item.given, "model": self.model.name, "version": self.model.version}
        row = {} if item.row is None else {"row": item.row}
        text = json.dumps(record | row | dict(found))
        if self.array:
            text = (",\n" if self.count else "[\n") + text
        self.out.write(text if self.array else text + "\n")
        self.count += 1


@dataclass(slots=True)
class CsvWriter:
    """The rows of a CSV with more columns, or a row for each item that names its input."""

    out: TextIO
    signature: Signature
    table: CsvTable | None = None
    _items: CsvTable = field(init=False)

    def __post_init__(self) -> None:
        self._items = CsvTable(("input", "row"), (), self.signature.outputs)

    def open(self, table: CsvTable) -> None:
        """Writes the header. Raises `UsageError` for rows of a second table."""
        if self.table is None:
            self.out.write(table.write_header())
        elif self.table.header != table.header:
            raise UsageError(
                "The output is one CSV, and the inputs have different columns.",
                hint="Predict them one by one, or write JSON lines: --format jsonl",
            )
        self.table = table

    def write(self, item: Item, outputs: Mapping[str, object]) -> None:
        table, cells = self._find_table(item)
        self.out.write(table.write(cells, outputs))

    def fail(self, item: Item, error: ModelpadError) -> bool:
        table, cells = self._find_table(item)
        self.out.write(table.write_error(cells, error.words))
        return True

    def close(self) -> None:
        pass

    def _find_table(self, item: Item) -> tuple[CsvTable, list[str]]:
        table = item.table or self._items
        if self.table is not table:
            self.open(table)
        row = "" if item.row is None else str(item.row)
        return table, [item.given, row] if item.table is None else [*item.cells]


def describe_output(value: Any) -> str:
    """A label with its confidence, else JSON; pictures only by their size."""
    if isinstance(value, dict) and "confidence" in value:
        unknown = "  (unknown: looks like none of the classes)" if value.get("unknown") else ""
        found = ", ".join(value["labels"]) or "none" if "labels" in value else value["label"]
        return f"{found}  {100 * value['confidence']:.1f} %{unknown}"
    if isinstance(value, str) and value.startswith(PICTURE):
        return f"(a picture of {len(value) * 3 // 4:,} bytes; -o FOLDER/ writes it)"
    return json.dumps(value)


def keep_pictures(
    outputs: Mapping[str, object], item: Item, folder: Path | None, on_terminal: bool
) -> dict[str, object]:
    """The outputs, with the names of files in place of pictures where there is a `folder`.

    On a terminal without a folder, the pictures are left out. Raises `ModelpadError` if a file
    cannot be written.
    """
    found = dict(outputs)
    for name, value in outputs.items():
        if not isinstance(value, str) or not value.startswith(PICTURE):
            continue
        if folder is not None:
            found[name] = write_picture(folder, item, name, value)
        elif on_terminal:
            found[name] = describe_output(value)
    return found


def write_picture(folder: Path, item: Item, output: str, value: str) -> str:
    """Writes an output's picture, and returns the file's name."""
    source = Path(item.given).stem if item.given != "-" and len(item.given) < 200 else "stdin"
    row = "" if item.row is None else f"-{item.row}"
    title = "".join(c if c.isalnum() or c in "-_." else "_" for c in f"{source}{row}-{output}")
    path = folder / f"{title}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(value.removeprefix(PICTURE)))
    except OSError as error:
        raise ModelpadError(
            f"{path} cannot be written: {error.strerror}.", hint="Choose another place."
        ) from error
    return str(path)
