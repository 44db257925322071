"""Temporary folders for targets that read files; deleted when the process exits."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

MEMORY = Path("/dev/shm")  # much faster than a disk
KEPT: list[TemporaryDirectory[str]] = []


def make_folder() -> Path:
    """A new, empty folder."""
    KEPT.append(TemporaryDirectory(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None))
    return Path(KEPT[-1].name)
