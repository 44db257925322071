"""The items in the arguments of `modelpad predict`: values, pictures, rows of CSV or JSON lines.

Rows are read as they are predicted, so a file or a pipe may have any length.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from modelpad.cli.input_values import (
    STDIN,
    open_files,
    read_json,
    read_object,
    read_values,
    wanted_inputs,
)
from modelpad.errors import InvalidInput, ModelpadError, UsageError
from modelpad.fields.csv_table import CsvTable, parse_row, split_rows

if TYPE_CHECKING:
    from modelpad.engine import ModelSession

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
ONE_VALUE = ("text", "number", "choice", "blend", "image", "sketch", "audio")  # read as a whole


@dataclass(frozen=True, slots=True)
class Item:
    """One item to predict. `row` counts from 1 in a file of rows; `table` is that of a CSV."""

    given: str
    read: Callable[[], dict[str, object]]
    row: int | None = None
    cells: tuple[str, ...] = ()
    table: CsvTable | None = None

    @property
    def title(self) -> str:
        """The argument, with the number of its row."""
        return name_argument(self.given) if self.row is None else f"{self.given}:{self.row}"


def find_kind(given: str, input_format: str | None) -> str:
    """`csv`, `jsonl` or `value`: what an argument is, by its name; `input_format` is for stdin."""
    if given == STDIN:
        return input_format or "value"
    return SUFFIXES.get(Path(given).suffix.lower(), "value") if len(given) < 1024 else "value"


def check_inputs(inputs: Sequence[str]) -> None:
    """Raises `UsageError` if standard input is named twice. Says so if it is a terminal."""
    if inputs.count(STDIN) > 1:
        raise UsageError("Standard input can be read only once.", hint="Give one -.")
    if STDIN in inputs and sys.stdin.isatty():
        print("Reading standard input; finish with Ctrl-D.", file=sys.stderr)


def name_argument(given: str) -> str:
    """An argument in a message."""
    return given or "''"


class ItemReader:
    """Reads items for a session; `settings` are inputs that all of them share."""

    def __init__(
        self, session: ModelSession, settings: Mapping[str, object], input_format: str | None
    ) -> None:
        self._session = session
        self._settings = settings
        self._input_format = input_format
        self._wanted = wanted_inputs(session.signature, settings)

    def read(self, given: str) -> Iterator[Item]:
        """The items of an argument.

        Raises `InvalidInput` for a file or a header that cannot be read. An item's own errors are
        raised by its `read`.
        """
        kind = find_kind(given, self._input_format)
        if kind == "value" and given == STDIN and self._is_open():
            yield from self._read_stdin()
        elif kind == "value":
            yield Item(given, partial(read_values, self._session, given, self._settings))
        else:
            with open_lines(given) as lines:
                yield from self._read_rows(given, kind, lines)

    def _is_open(self) -> bool:
        """Whether standard input may hold rows: it is neither one text nor one picture."""
        return len(self._wanted) > 1 or self._wanted[0].kind not in ONE_VALUE

    def _read_stdin(self) -> Iterator[Item]:
        """JSON on one line or several, JSON lines, or CSV, as its first line shows."""
        with open_lines(STDIN) as lines:
            first = next((line for line in lines if line.strip()), "")
            if first.lstrip()[:1] not in ("{", "["):
                kind = "csv" if len(self._wanted) > 1 else "jsonl"
                yield from self._read_rows(STDIN, kind, chain([first], lines))
                return
            rest = [*filter(str.strip, lines)]
            if rest and is_json(first):
                yield from self._read_rows(STDIN, "jsonl", chain([first], rest))
            else:
                text = "".join([first, *rest])
                yield Item(STDIN, partial(self._read_object, STDIN, text))

    def _read_rows(self, given: str, kind: str, lines: Iterator[str]) -> Iterator[Item]:
        return self._read_csv(given, lines) if kind == "csv" else self._read_json(given, lines)

    def _read_json(self, given: str, lines: Iterator[str]) -> Iterator[Item]:
        for row, line in enumerate(filter(str.strip, lines), start=1):
            yield Item(given, partial(self._read_object, given, line), row)

    def _read_object(self, given: str, text: str) -> dict[str, object]:
        found = read_json(check_text(text), hint="A line must be an object, or the only input.")
        value = read_object(found, self._wanted, self._settings)
        return open_files(value, self._session.signature, Path(given).parent)

    def _read_csv(self, given: str, lines: Iterator[str]) -> Iterator[Item]:
        rows = split_rows(lines)
        table = CsvTable.open(_read_header(rows), self._session.signature, self._settings)
        for row, line in enumerate(rows, start=1):
            try:
                cells = tuple(parse_row(line))
            except InvalidInput as error:
                yield Item(given, fail_with(error), row, table=table)
                continue
            yield Item(
                given,
                partial(self._read_cells, given, table, cells),
                row,
                cells,
                table,
            )

    def _read_cells(self, given: str, table: CsvTable, cells: Sequence[str]) -> dict[str, object]:
        values = {**table.read(cells), **self._settings}
        return open_files(values, self._session.signature, Path(given).parent)


def fail_with(error: ModelpadError) -> Callable[[], dict[str, object]]:
    """The `read` of an item that cannot be read."""

    def read() -> dict[str, object]:
        raise error

    return read


def is_json(text: str) -> bool:
    """Whether a line is a JSON document of its own."""
    try:
        read_json(text)
    except InvalidInput:
        return False
    return True


def check_text(text: str) -> str:
    """The text itself. Raises `InvalidInput` if it was not UTF-8."""
    try:
        text.encode("utf-8")  # fails for the surrogates that stand for invalid bytes
    except UnicodeEncodeError:
        raise InvalidInput("The line is not valid UTF-8.", hint="Save it as UTF-8.") from None
    return text


@contextmanager
def open_lines(given: str) -> Iterator[TextIO]:
    """The lines of a file, or of standard input. Raises `InvalidInput` if it cannot be read."""
    import io

    encoding, errors, newline = "utf-8", "surrogateescape", "\n"
    if given == STDIN:
        lines = io.TextIOWrapper(sys.stdin.buffer, encoding, errors, newline)
        try:
            yield lines
        finally:
            lines.detach()
        return
    try:
        with Path(given).open(encoding=encoding, errors=errors, newline=newline) as file:
            yield file
    except OSError as error:
        raise InvalidInput(
            f"The file cannot be read: {error.strerror}.",
            hint="Give the path of a CSV or JSON Lines file.",
            expected="the path of a file",
            got=given,
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
