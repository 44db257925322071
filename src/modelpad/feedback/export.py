"""Writes corrections as a data set: class folders of pictures, and tables of everything else."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from modelpad.bundle.locks import claim_folder
from modelpad.errors import StoreError
from modelpad.feedback.entry import Entry, Item
from modelpad.feedback.items import SUFFIXES, restore_values
from modelpad.fields.csv_table import write_row

PICTURES, ROWS = "labels.csv", "corrections.csv"
FACTS = ("label", "predicted", "version", "created", "id", "note")
MAX_FOLDER_CHARS = 80
# Unsafe in a file name of some system, or in a URL; `%` itself, so that no two labels collide.
UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def export_feedback(items: Iterable[tuple[Entry, Item]], target: Path) -> int:
    """Writes corrections to a new folder `target`, which appears when it is complete.

    Pictures become `LABEL/ID.png`, and `labels.csv` lists them with their exact labels; other items
    are the rows of `corrections.csv`. Returns how many there are.

    Raises `StoreError` if `target` exists and is not empty, or cannot be written.
    """
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StoreError(
                f"{target} already exists.", hint="Choose a folder that does not exist yet."
            )
        parent = target.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        with claim_folder(parent, f".{target.name}-") as staged:
            content = staged / "content"
            content.mkdir()
            count = write_items(items, content)
            if target.exists():
                target.rmdir()  # fails if it is not empty any more
            shutil.move(content, target)
    except OSError as error:
        raise StoreError(
            f"{target} cannot be written: {error.strerror or error}.",
            hint="Choose another folder.",
        ) from error
    return count


def write_items(items: Iterable[tuple[Entry, Item]], folder: Path) -> int:
    """Writes pictures, then the tables."""
    pictures: list[list[object]] = []
    rows: list[tuple[Entry, dict[str, object]]] = []
    for entry, item in items:
        if item.is_picture:
            path = Path(name_folder(entry.label)) / f"{entry.id}{SUFFIXES[item.media_type]}"
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(item.body)
            pictures.append([path.as_posix(), *list_facts(entry)])
        else:
            rows.append((entry, restore_values((), item)))
    if pictures:
        with (folder / PICTURES).open("w", encoding="utf-8", newline="") as file:
            write_table(file, [["file", *FACTS], *pictures])
    if rows:
        with (folder / ROWS).open("w", encoding="utf-8", newline="") as file:
            write_table(file, arrange_rows(rows))
    return len(pictures) + len(rows)


def arrange_rows(rows: Sequence[tuple[Entry, dict[str, object]]]) -> list[list[object]]:
    """A header with the names of all fields, then a row for each item."""
    fields = list(dict.fromkeys(name for _, values in rows for name in values))
    facts = [f"feedback_{name}" if name in fields else name for name in FACTS]
    return [
        [*fields, *facts],
        *(
            [*(_write_cell(values.get(name)) for name in fields), *list_facts(e)]
            for e, values in rows
        ),
    ]


def list_facts(entry: Entry) -> list[object]:
    """The cells of `FACTS`."""
    return [getattr(entry, name) for name in FACTS]


def write_table(file: TextIO, rows: Iterable[Sequence[object]]) -> None:
    """Writes rows as CSV."""
    for row in rows:
        file.write(write_row(row))


def name_folder(label: str) -> str:
    """A label as the name of a folder: safe on every system, different for different labels.

    Unsafe characters are percent-encoded, so is the first one of names that would be hidden or
    reserved. Long names are cut, and end in a hash.
    """
    safe = UNSAFE.sub(_encode, label) or "%"
    if safe[0] in "._~- " or RESERVED.fullmatch(safe):
        safe = f"%{ord(safe[0]):02X}{safe[1:]}"
    if safe[-1] in ". ":
        safe = f"{safe[:-1]}%{ord(safe[-1]):02X}"
    if len(safe.encode("utf-8", "replace")) > MAX_FOLDER_CHARS:
        digest = hashlib.sha256(label.encode("utf-8", "replace")).hexdigest()[:12]
        safe = f"{safe[: MAX_FOLDER_CHARS // 4]}%~{digest}"
    return safe


def _encode(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def _write_cell(value: object) -> object:
    """A cell as `modelpad predict FILE.csv` reads it: text and numbers as they are, else JSON."""
    is_plain = value is None or isinstance(value, str | int | float)
    return value if is_plain else json.dumps(value, ensure_ascii=False)
