"""Keeps two trainings from writing into one run folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelpad.bundle.locks import try_lock
from modelpad.errors import TrainingFailed

LOCK = ".lock"


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Holds a run folder, creating it if necessary; one that is still empty is removed on exit.

    File systems without locks protect nothing. Raises `TrainingFailed` if another training, or a
    search, holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    try:
        descriptor = try_lock(path)
    except OSError:
        yield
        return
    if descriptor is None:
        raise TrainingFailed(
            f"Another training uses {folder}.",
            hint="Wait for it, or choose another folder: --runs DIR",
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows keeps an open file
            path.unlink()
        os.close(descriptor)
        with contextlib.suppress(OSError):
            folder.rmdir()
