"""CSV in, CSV out: a row's cells are the values of the input fields, outputs become more cells.

It does not know about files and connections: lines come in and go out one at a time.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields.field import Field
from modelpad.fields.label import LABEL_SEPARATOR, Label
from modelpad.fields.signature import Signature
from modelpad.fields.tensor import Tensor
from modelpad.foreign_json import load_json

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
JSON_KINDS = ("tensor", "score")  # their cells hold JSON; those of all others, text
MAX_WIDTH = 64  # longer vectors are one cell of JSON
MAX_NAMED = 20  # in a message
ERROR = "error"


class RowReader(msgspec.Struct):
    """Joins lines to rows: a quoted cell may contain line breaks."""

    lines: list[str] = msgspec.field(default_factory=list)
    quoted: bool = False
    characters: int = 0  # of the row so far

    def add(self, line: str) -> str | None:
        """Adds a line without its line feed. Returns the row that it completes, if any."""
        self.lines.append(line)
        self.characters += len(line) + 1
        self.quoted = ends_quoted(line, self.quoted)
        return None if self.quoted else self.finish()

    def finish(self) -> str:
        """The lines of the last row, even if its last cell is still open."""
        row = "\n".join(self.lines)
        self.lines.clear()
        self.quoted, self.characters = False, 0
        return row


def split_rows(lines: Iterable[str]) -> Iterator[str]:
    """The rows that are not blank."""
    reader = RowReader()
    for line in lines:
        row = reader.add(line.removesuffix("\n"))
        if row is not None and row.strip():
            yield row
    if reader.lines:
        yield reader.finish()


def ends_quoted(line: str, quoted: bool) -> bool:
    """Whether a quoted cell is open at the end of a line, given whether one is at its start."""
    closed = False  # the last quote closed a cell, so another one right after it is an escape
    for number, before in enumerate(line.split('"')[:-1]):
        if quoted:
            quoted, closed = False, True
        else:
            starts = before.endswith(",") or (not before and (number == 0 or closed))
            quoted, closed = starts, False
    return quoted


def parse_row(row: str) -> list[str]:
    """The cells of a row. Raises `InvalidInput`."""
    try:
        row.encode("utf-8")  # fails for the surrogates that stand for invalid bytes
        return next(csv.reader([row], strict=True), [])
    except (csv.Error, UnicodeEncodeError) as error:
        reason = "it is not valid UTF-8" if isinstance(error, UnicodeEncodeError) else str(error)
        raise InvalidInput(
            f"The row cannot be read: {reason}.",
            hint="Send CSV in UTF-8; quote cells with commas, quotes or line breaks.",
            expected="a row of CSV",
            got=repr(row[:60]),
        ) from error


def write_row(cells: Sequence[object]) -> str:
    """A row with its line feed. None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # else it would not quote "\r"
    return text.getvalue()[:-2] + "\n"


class CsvTable(msgspec.Struct, frozen=True):
    """The columns of one CSV: those that were sent, and those that predictions add."""

    header: tuple[str, ...]
    inputs: tuple[Field, ...]  # one for each column
    outputs: tuple[Field, ...]

    @classmethod
    def open(cls, header: str, signature: Signature, settings: Collection[str] = ()) -> CsvTable:
        """Reads the header, which names every input field without a default, in any order.

        The inputs in `settings` are given elsewhere and need no column.

        Raises:
            InvalidInput: a column is missing, unknown or given twice; the message names it.
        """
        names = tuple(parse_row(header.removeprefix("\ufeff")))
        fields = {each.name: each for each in signature.inputs}
        known = [name if name in fields else name.strip() for name in names]
        required = [each.name for each in signature.required_inputs if each.name not in settings]
        _check_names(known, [*fields], required)
        return cls(names, tuple(fields[name] for name in known), signature.outputs)

    def write_header(self) -> str:
        """The header of the answer: the input's columns, the outputs', and `error`."""
        names = [*self.header]
        for name in [*_name_outputs(self.outputs), ERROR]:
            while name in names:
                name = f"predicted_{name}"
            names.append(name)
        return write_row(names)

    def read(self, cells: Sequence[str]) -> dict[str, object]:
        """The values of a row's fields, not decoded yet. Raises `InvalidInput`."""
        if len(cells) != len(self.header):
            raise InvalidInput(
                f"The row has {len(cells)} cells; the header has {len(self.header)}.",
                hint="Quote cells that contain commas.",
                expected=f"{len(self.header)} cells",
                got=f"{len(cells)} cells",
            )
        return {
            each.name: _read_json(each, cell) if each.kind in JSON_KINDS else cell
            for each, cell in zip(self.inputs, cells, strict=True)
        }

    def write(self, cells: Sequence[str], outputs: Mapping[str, object]) -> str:
        """A row with its prediction. Raises `TooLarge` for an output that fits no cell."""
        added: list[object] = []
        for each in self.outputs:
            added += _write_cells(each, outputs[each.name])
        return write_row([*cells, *added, ""])

    def write_error(self, cells: Sequence[str], error: str) -> str:
        """A row with the reason why it has no prediction."""
        width = len(self.header)
        kept = [*cells[:width], *[""] * (width - len(cells))]
        return write_row([*kept, *[""] * len(_name_outputs(self.outputs)), error])


def read_samples(
    lines: Iterable[str], fields: Sequence[Field], limit: int
) -> list[dict[str, object]]:
    """The JSON values of the fields in the first `limit` rows below a header.

    Unlike in a request, there may be other columns, such as the target. Raises `InvalidInput`.
    """
    rows = split_rows(lines)
    header = [name.strip() for name in parse_row(next(rows, "").removeprefix("\ufeff"))]
    names = [each.name for each in fields]
    _check_names([name for name in header if name in names] or header, names)
    samples = []
    for row in islice(rows, limit):
        cells = dict(zip(header, parse_row(row), strict=False))
        values = {name: cells.get(name, "") for name in names}
        samples.append({each.name: _read_value(each, values[each.name]) for each in fields})
    return samples


def _read_value(each: Field, cell: str) -> object:
    """A cell as it is in JSON: a number, null, a category, text."""
    if each.kind in JSON_KINDS:
        return _read_json(each, cell)
    return each.encode(each.decode(cell)) if each.kind in ("number", "choice") else cell


def _check_names(
    names: Sequence[str], fields: Sequence[str], required: Sequence[str] | None = None
) -> None:
    """Raises `InvalidInput` unless there is one column for each field, by default of all."""
    counts = Counter(names)
    known = {*fields}
    unknown = [name for name in counts if name not in known]
    missing = [name for name in (fields if required is None else required) if name not in counts]
    twice = [name for name in fields if counts[name] > 1]
    if not (unknown or missing or twice):
        return
    problems = [
        f"{word} columns: {_list(found)}."
        for word, found in (("Unknown", unknown), ("Missing", missing), ("Duplicate", twice))
        if found
    ]
    hint = f"The first row must name the columns: {', '.join(fields[:MAX_NAMED])}."
    separator = next((mark for mark in SEPARATORS if mark in "".join(names[:1])), None)
    if len(names) == 1 and separator is not None:
        problems = [f"The columns are separated by {SEPARATORS[separator]}, not by commas."]
        hint = "Save the file with commas between cells, and points in decimal numbers."
    elif "" in unknown:
        hint += " With pandas: to_csv(..., index=False)."
    raise InvalidInput(
        " ".join(problems),
        hint=hint,
        field=[*missing, *unknown, *twice][0],
        expected=", ".join(fields[:MAX_NAMED]),
        got=", ".join(names)[:200],
    )


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(repr(name[:60]) for name in names[:MAX_NAMED]) + more


def _read_json(each: Field, cell: str) -> object:
    try:
        return load_json(cell)
    except ValueError as error:
        raise InvalidInput(
            f"The field {each.name!r} is not JSON: {error}.",
            hint="Write it as JSON, for example [1, 2, 3] in quotes.",
            field=each.name,
            expected="JSON",
            got=repr(cell[:60]),
        ) from error


def _name_outputs(outputs: Sequence[Field]) -> list[str]:
    """The columns that the outputs become; those of an only label are `label`, `confidence`.

    A label with a familiarity has `unknown` too. Several labels are in one column.
    """
    names: list[str] = []
    for each in outputs:
        if each.kind == "label":
            prefix = "" if len(outputs) == 1 else f"{each.name}_"
            names += [each.name if prefix else "label", f"{prefix}confidence"]
            if isinstance(each, Label) and each.familiarity:
                names += [f"{prefix}unknown"]
        else:
            width = _width(each)
            names += [f"{each.name}_{n}" for n in range(width)] if width else [each.name]
    return names


def _width(each: Field) -> int:
    """The number of columns of a short vector; 0 for anything else, which is a single cell."""
    shape = each.shape if isinstance(each, Tensor) else ()
    return (shape[0] or 0) if len(shape) == 1 and (shape[0] or 0) <= MAX_WIDTH else 0


def _write_cells(each: Field, value: object) -> list[object]:
    if hasattr(value, "tolist"):
        raise TooLarge(f"The output {each.name!r} is too large for a cell.", hint="Ask for JSON.")
    if isinstance(value, dict) and each.kind == "label":
        unknown = [json.dumps(value["unknown"])] if "unknown" in value else []
        label = LABEL_SEPARATOR.join(value["labels"]) if "labels" in value else value["label"]
        return [label, value["confidence"], *unknown]
    if isinstance(value, list) and len(value) == _width(each):
        return value
    is_json = isinstance(value, bool | list | dict)
    return [json.dumps(value) if is_json else value]
