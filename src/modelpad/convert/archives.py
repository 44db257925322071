"""Foreign files are looked at before any framework opens them: sizes, names, links.

A zip or HDF5 file can be small and yet unfold to fill a disk, or point out of itself.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from modelpad.errors import ConversionFailed, MissingExtra, NotTrusted, TooLarge, first_line


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """At most `total_bytes` unfolded, `ratio` times the file's size, and so many `entries`."""

    total_bytes: int = 16 << 30
    ratio: int = 200
    entries: int = 100_000


def check_zip(path: Path, limits: ArchiveLimits | None = None) -> list[str]:
    """The names in a zip file that is within `limits`.

    Raises:
        TooLarge: it unfolds to too much.
        NotTrusted: an entry's path leaves the archive.
        ConversionFailed: it is no zip file.
    """
    limits = limits or ArchiveLimits()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise unreadable(path, str(error)) from error
    for entry in entries:
        parts = PurePosixPath(entry.filename).parts
        if entry.filename.startswith("/") or ".." in parts or "\\" in entry.filename:
            raise NotTrusted(
                f"{path.name} holds {entry.filename!r}, which leaves the archive.",
                hint="Do not use this file.",
                found=[entry.filename],
            )
    _check_size(path, sum(entry.file_size for entry in entries), len(entries), limits)
    return [entry.filename for entry in entries]


def check_hdf5(path: Path, limits: ArchiveLimits | None = None) -> dict[str, Any]:
    """The attributes at the root of an HDF5 file that is within `limits` and all its own.

    Raises:
        TooLarge: its arrays unfold to too much.
        NotTrusted: it points to other files, which reading would open.
        ConversionFailed: it is no HDF5 file.
        MissingExtra: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("h5py", extra="keras") from error
    limits = limits or ArchiveLimits()
    total, count = 0, 0

    def visit(group: Any, depth: int) -> None:
        nonlocal total, count
        if depth > 64:
            raise TooLarge(
                f"{path.name} has groups within groups without end.", limit=64, got=depth
            )
        for name in group:
            link = group.get(name, getlink=True)
            where = f"{group.name.rstrip('/')}/{name}"
            if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
                raise outside(path, f"the link {where} to {link.path!r}")
            item = group[name]
            count += 1
            if count > limits.entries:
                raise TooLarge(
                    f"{path.name} has too many entries.", limit=limits.entries, got=count
                )
            if isinstance(item, h5py.Group):
                visit(item, depth + 1)
                continue
            if item.external or item.is_virtual:
                raise outside(path, f"the array {where}, kept in another file")
            total += item.size * item.dtype.itemsize
            _check_size(path, total, count, limits)

    try:
        with h5py.File(path, "r") as file:
            visit(file, 0)
            return {name: _plain(value) for name, value in file.attrs.items()}
    except (OSError, RuntimeError, KeyError) as error:
        raise unreadable(path, first_line(error)) from error


def unreadable(path: Path, reason: str) -> ConversionFailed:
    """The error for a file that is damaged or not what it is taken for."""
    return ConversionFailed(
        f"{path.name} cannot be read: {reason}", hint="Check that the file is whole."
    )


def outside(path: Path, what: str) -> NotTrusted:
    """The error for a file that points out of itself."""
    return NotTrusted(
        f"{path.name} holds {what}.", hint="Save the model into one file again.", found=[what]
    )


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _check_size(path: Path, total: int, entries: int, limits: ArchiveLimits) -> None:
    size = max(path.stat().st_size, 1 << 20)
    if total > limits.total_bytes or total > size * limits.ratio or entries > limits.entries:
        raise TooLarge(
            f"{path.name} unfolds to {total:,} bytes in {entries:,} entries;"
            f" at most {min(limits.total_bytes, size * limits.ratio):,} are taken.",
            hint="A model's weights hardly shrink in an archive: do not use this file.",
            limit=limits.total_bytes,
            got=total,
        )
