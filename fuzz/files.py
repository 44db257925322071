"""Folders for targets that read files; they go when the process ends."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

MEMORY = Path("/dev/shm")  # many times faster than a disk
KEPT: list[TemporaryDirectory[str]] = []


def make_folder() -> Path:
    """A new, empty folder."""
    KEPT.append(TemporaryDirectory(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None))
    return Path(KEPT[-1].name)
