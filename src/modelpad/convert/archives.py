"""Checks zip and HDF5 files before a framework opens them: sizes, names and links.

A small file can expand to fill a disk, or refer to other files.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from modelpad.errors import ConversionFailed, MissingExtra, NotTrusted, TooLarge, first_line

if TYPE_CHECKING:
    from h5py import Group

MAX_DEPTH = 64  # of groups in groups


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits on the expanded size, its ratio to the file's size, and the number of entries."""

    total_bytes: int = 16 << 30
    ratio: int = 200
    entries: int = 100_000


def check_zip(path: Path, limits: ArchiveLimits | None = None) -> list[str]:
    """Checks a zip file against `limits` and returns the names of its entries.

    Raises:
        TooLarge: a limit is exceeded.
        NotTrusted: an entry's path points outside the archive.
        ConversionFailed: it is not a zip file.
    """
    limits = limits or ArchiveLimits()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise truncated(path) from error
    except (OSError, ValueError, NotImplementedError) as error:
        raise unreadable(path, str(error)) from error
    for entry in entries:
        parts = PurePosixPath(entry.filename).parts
        if entry.filename.startswith("/") or ".." in parts or "\\" in entry.filename:
            raise NotTrusted(
                f"{path.name} contains {entry.filename!r}, a path outside the archive.",
                hint="Do not use this file.",
                found=[entry.filename],
            )
    _check_size(path, sum(entry.file_size for entry in entries), len(entries), limits)
    return [entry.filename for entry in entries]


def check_hdf5(path: Path, limits: ArchiveLimits | None = None) -> dict[str, object]:
    """Checks an HDF5 file against `limits` and returns the attributes of its root.

    Raises:
        TooLarge: a limit is exceeded.
        NotTrusted: it refers to other files, which reading would open.
        ConversionFailed: it is not an HDF5 file.
        MissingExtra: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("h5py", extra="keras") from error
    limits = limits or ArchiveLimits()
    total, count = 0, 0

    def visit(group: Group, depth: int) -> None:
        nonlocal total, count
        if depth > MAX_DEPTH:
            raise TooLarge(
                f"{path.name} has groups nested more than {MAX_DEPTH} deep.",
                hint="Do not use this file.",
                limit=MAX_DEPTH,
                got=depth,
            )
        for name in group:
            link = group.get(name, getlink=True)
            where = f"{group.name.rstrip('/')}/{name}"
            if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
                raise external_reference(path, f"the link {where} to {link.path!r}")
            item = group[name]
            count += 1
            if count > limits.entries:
                raise TooLarge(
                    f"{path.name} has more than {limits.entries:,} entries.",
                    hint="Do not use this file.",
                    limit=limits.entries,
                    got=count,
                )
            if isinstance(item, h5py.Group):
                visit(item, depth + 1)
                continue
            if item.external or item.is_virtual:
                raise external_reference(path, f"the array {where}, stored in another file")
            total += item.size * item.dtype.itemsize
            _check_size(path, total, count, limits)

    try:
        with h5py.File(path, "r") as file:
            visit(file, 0)
            return {name: _decode(value) for name, value in file.attrs.items()}
    except (OSError, RuntimeError, KeyError) as error:
        raise unreadable(path, first_line(error)) from error


def unreadable(path: Path, reason: str) -> ConversionFailed:
    """The error for a damaged or misidentified file."""
    return ConversionFailed(
        f"{path.name} cannot be read: {reason}", hint="Check that the file is complete."
    )


def truncated(path: Path) -> ConversionFailed:
    """The error for a zip file whose index, at its end, is missing or damaged."""
    return ConversionFailed(
        f"{path.name} is incomplete: the end of the zip file is missing or damaged, after"
        f" {path.stat().st_size:,} bytes.",
        hint="Copy or download it again.",
    )


def external_reference(path: Path, what: str) -> NotTrusted:
    """The error for a file that refers to other files."""
    return NotTrusted(
        f"{path.name} contains {what}.", hint="Save the model to a single file.", found=[what]
    )


def _decode(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _check_size(path: Path, total: int, entries: int, limits: ArchiveLimits) -> None:
    size = max(path.stat().st_size, 1 << 20)
    if total > limits.total_bytes or total > size * limits.ratio or entries > limits.entries:
        raise TooLarge(
            f"{path.name} expands to {total:,} bytes in {entries:,} entries;"
            f" at most {min(limits.total_bytes, size * limits.ratio):,} are allowed.",
            hint="Model weights hardly compress: do not use this file.",
            limit=limits.total_bytes,
            got=total,
        )
