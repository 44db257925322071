"""Parquet files turned into a table in JSON Lines, with the images in files of their own.

A column of images holds bytes, or `{"bytes": ..., "path": ...}` as the Hugging Face hub writes it.
Needs pyarrow, the `parquet` extra.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from modelpad.errors import DataSetInvalid, MissingExtra, TooLarge, first_line

TABLE_NAME = "table.jsonl"
BATCH_ROWS = 64


class ByteCounter(Protocol):
    """Counts what is written, and raises TooLarge over its limits."""

    allowed_bytes: int

    def count_member(self, declared_bytes: int) -> None:
        """Counts a file, by its size."""

    def count_bytes(self, count: int) -> None:
        """Counts bytes that are about to be written."""


class RowGroup(Protocol):
    """The metadata of a row group: its size when decompressed."""

    total_byte_size: int


class Metadata(Protocol):
    """The metadata of a parquet file, available before its columns are read."""

    num_row_groups: int

    def row_group(self, index: int) -> RowGroup:
        """One of the row groups."""


def unpack_parquet(path: Path, folder: Path, counter: ByteCounter) -> None:
    """Writes `folder/table.jsonl`, one object per row, and `folder/images/NUMBER.SUFFIX`.

    The cell of an image becomes the name of its file. Raises MissingExtra, DataSetInvalid when the
    file is damaged, TooLarge when its columns declare more bytes than `counter` allows.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", extra="parquet") from error
    try:
        with (
            parquet.ParquetFile(path) as source,
            (folder / TABLE_NAME).open("w", encoding="utf-8") as table,
        ):
            check_declared_size(path, source.metadata, counter)
            counter.count_member(0)
            number = 0
            for batch in source.iter_batches(batch_size=BATCH_ROWS):
                for row in batch.to_pylist():
                    cells = {
                        name: write_cell(folder, f"{number:08d}-{place}", cell, counter)
                        for place, (name, cell) in enumerate(row.items())
                    }
                    line = json.dumps(cells, ensure_ascii=False, default=str) + "\n"
                    counter.count_bytes(len(line.encode()))
                    table.write(line)
                    number += 1
    except pyarrow.ArrowException as error:
        raise DataSetInvalid(
            f"{path} is damaged: {first_line(error, 200)}.",
            hint="Delete it and get it again from its source.",
            path=str(path),
        ) from error


def check_declared_size(path: Path, metadata: Metadata, counter: ByteCounter) -> None:
    """Raises TooLarge when the row groups declare more bytes than may be unpacked."""
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    total = sum(group.total_byte_size for group in groups)
    if total > counter.allowed_bytes:
        raise TooLarge(
            f"{path} unpacks to {total:,} bytes, over {counter.allowed_bytes:,}:"
            " it may be a decompression bomb.",
            hint="Convert it yourself if you trust it, to CSV or a folder of images.",
            limit=counter.allowed_bytes,
        )


def write_cell(folder: Path, name: str, cell: object, counter: ByteCounter) -> object:
    """The cell as JSON can hold it: bytes are written to a file, whose name is returned."""
    if isinstance(cell, Mapping) and isinstance(cell.get("bytes"), bytes):
        cell = cell["bytes"]
    if not isinstance(cell, bytes):
        return cell
    relative = f"images/{name}{guess_suffix(cell)}"
    counter.count_member(len(cell))
    counter.count_bytes(len(cell))
    target = folder / relative
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(cell)
    return relative


def guess_suffix(body: bytes) -> str:
    """The usual suffix of an image's format, by its first bytes; `.bin` for anything else."""
    for magic, suffix in (
        (b"\x89PNG", ".png"),
        (b"\xff\xd8\xff", ".jpg"),
        (b"GIF8", ".gif"),
        (b"BM", ".bmp"),
        (b"II*\0", ".tiff"),
        (b"MM\0*", ".tiff"),
    ):
        if body.startswith(magic):
            return suffix
    return ".webp" if body[:4] == b"RIFF" and body[8:12] == b"WEBP" else ".bin"
