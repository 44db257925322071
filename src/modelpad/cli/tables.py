"""Predictions for the rows of a CSV file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from modelpad.errors import InvalidInput, ModelpadError, UsageError
from modelpad.fields.csv_table import CsvTable, parse_row, split_rows

if TYPE_CHECKING:
    from modelpad.engine import ModelSession


@dataclass(slots=True)
class Counts:
    """How many rows there were, and how many of them failed."""

    rows: int = 0
    failed: int = 0


def predict_rows(
    session: ModelSession, path: Path, counts: Counts, *, as_json: bool
) -> Iterator[str | dict[str, object]]:
    """The rows of the answer: CSV with a header or, `as_json`, a record for each row.

    A row that fails has an error. Raises `InvalidInput` for a file or a header that cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            rows = split_rows(file)
            table = CsvTable.open(_read_header(rows), session.signature)
            if not as_json:
                yield table.write_header()
            for row in rows:
                counts.rows += 1
                yield _predict_row(session, table, row, counts, as_json)
    except OSError as error:
        raise InvalidInput(
            f"The file cannot be read: {error.strerror}.",
            hint="Give the path of a CSV file.",
            expected="the path of a CSV file",
            got=str(path),
        ) from error


def _read_header(rows: Iterator[str]) -> str:
    header = next(rows, None)
    if header is None:
        raise InvalidInput(
            "The file is empty.",
            hint="Its first row must name the model's inputs.",
            expected="a header and rows",
            got="0 rows",
        )
    return header


def _predict_row(
    session: ModelSession, table: CsvTable, row: str, counts: Counts, as_json: bool
) -> str | dict[str, object]:
    cells: list[str] = []
    try:
        cells = parse_row(row)
        outputs = session.answer(table.read(cells))
        return _write_record(counts, outputs) if as_json else table.write(cells, outputs)
    except ModelpadError as error:
        counts.failed += 1
        if not as_json:
            return table.write_error(cells, error.words)
        described = {"message": error.message, "hint": error.hint, **error.details}
        return {"row": counts.rows, "error": described}


def _write_record(counts: Counts, outputs: dict[str, object]) -> dict[str, object]:
    only = next(iter(outputs.values()))
    if len(outputs) == 1 and isinstance(only, dict):
        return {"row": counts.rows, **only}
    return {"row": counts.rows, "outputs": outputs}


@contextmanager
def open_output(name: str | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears once it is complete. Raises `UsageError`.

    It may be the file that is being read.
    """
    if name is None:
        yield sys.stdout
        return
    path = Path(name)
    partial = path.with_name(f".{path.name}.partial")
    try:
        file = partial.open("w", encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}.", hint="Choose another file: -o FILE."
        ) from error
    try:
        with file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
