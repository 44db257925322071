"""Columns of CSV, TSV and JSON Lines files, plain or gzip, read line by line.

Independent of what the columns mean.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

from modelpad.datasets.idx import GZIP_MAGIC, damaged
from modelpad.errors import DataSetInvalid

Cell = str | int | float | bool | list[str] | None
Row = Mapping[str, object]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
MAX_CONTENT_BYTES = 16 << 30
MAX_LINE_CHARACTERS = 16 << 20
MAX_ROWS = 50_000_000


def is_table(path: Path) -> bool:
    """Whether the name of `path` is that of a table, with or without `.gz`."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def read_column_names(path: Path) -> tuple[str, ...]:
    """The names of the columns: the header, or the keys of the first JSON object.

    Raises DataSetInvalid when the file is empty or damaged.
    """
    for row in read_rows(path):
        return tuple(row)
    raise damaged(path, "holds no rows")


def read_columns(path: Path, names: Sequence[str]) -> dict[str, list[Cell]]:
    """The columns `names`, each with one cell per row. CSV and TSV cells are str.

    Raises DataSetInvalid, naming the row, when a row lacks a column or the file is damaged.
    """
    columns: dict[str, list[Cell]] = {name: [] for name in names}
    for number, row in enumerate(read_rows(path), start=1):
        if number > MAX_ROWS:
            raise damaged(path, f"has more than {MAX_ROWS:,} rows")
        for name, cells in columns.items():
            cell = row.get(name)
            if name not in row or not is_cell(cell):
                problem = "cannot be used" if name in row else "is missing"
                raise DataSetInvalid(
                    f"{path}, row {number:,}: the column {name!r} {problem}.",
                    hint=f"The columns of this row are: {', '.join(list(row)[:20])}.",
                    path=str(path),
                    row=number,
                )
            cells.append(cell)
    return columns


def is_cell(value: object) -> TypeGuard[Cell]:
    """Whether a value from JSON is a text, a number, true, false, null or a list of texts."""
    if isinstance(value, list):
        return all(isinstance(part, str) for part in value)
    return value is None or isinstance(value, str | int | float)


def read_rows(path: Path) -> Iterator[Row]:
    """Each row as its cells by column. Raises DataSetInvalid, naming the line, when damaged."""
    kind = Path(path.name.lower().removesuffix(".gz")).suffix
    return read_json_rows(path) if kind in (".jsonl", ".ndjson") else read_csv_rows(path, kind)


def read_json_rows(path: Path) -> Iterator[Row]:
    """The JSON object on each line that is not empty."""
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise damaged(path, f"is not JSON Lines: line {number:,}: {error}") from error
        if not isinstance(row, dict):
            raise damaged(path, f"is not JSON Lines: line {number:,} is not an object")
        yield row


def read_csv_rows(path: Path, suffix: str) -> Iterator[Row]:
    """The rows below the header."""
    limit_before = csv.field_size_limit()
    reader = csv.reader(read_lines(path), delimiter="\t" if suffix == ".tsv" else ",", strict=True)
    try:
        header: list[str] | None = None
        while True:
            # The limit is one of the whole process: others keep theirs.
            csv.field_size_limit(MAX_LINE_CHARACTERS)
            try:
                cells = next(reader, None)
            finally:
                csv.field_size_limit(limit_before)
            if cells is None:
                return
            if header is None:
                header = check_header(path, cells)
            elif cells:
                if len(cells) != len(header):
                    raise damaged(
                        path,
                        f"has {len(cells)} cells in line {reader.line_num:,}"
                        f" but {len(header)} columns",
                    )
                yield dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise damaged(path, f"is damaged: line {reader.line_num:,}: {error}") from error


def check_header(path: Path, names: list[str]) -> list[str]:
    """The names of the columns. Raises DataSetInvalid when one is empty or appears twice."""
    if not names or len(set(names)) < len(names) or not all(names):
        raise damaged(path, f"needs a first line with distinct column names, not {names[:20]}")
    return names


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file in UTF-8, plain or gzip, of bounded length.

    Raises DataSetInvalid when the file is damaged, no UTF-8, or over a limit.
    """
    total = 0
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            with gzip.open(raw, "rb") if is_gzip else raw as binary:
                text = io.TextIOWrapper(binary, "utf-8-sig", newline="")
                while line := text.readline(MAX_LINE_CHARACTERS + 1):
                    total += len(line)
                    if len(line) > MAX_LINE_CHARACTERS:
                        raise damaged(
                            path, f"has a line of more than {MAX_LINE_CHARACTERS:,} characters"
                        )
                    if total > MAX_CONTENT_BYTES:
                        raise damaged(path, f"holds more than {MAX_CONTENT_BYTES:,} characters")
                    yield line
    except UnicodeDecodeError as error:
        raise damaged(path, f"is not valid UTF-8: {error.reason}") from error
    except EOFError as error:
        raise damaged(path, "is truncated: its gzip stream ends early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, f"is damaged: {error}") from error
    except OSError as error:
        raise damaged(path, f"cannot be read: {error.strerror or error}") from error
