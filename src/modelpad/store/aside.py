"""Files that are written or removed aside under a model's lock, and what killed processes left.

The lock is what makes the leftovers provable: whoever holds it knows that nobody else writes here.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from pathlib import Path

from modelpad.bundle.writer import sync_folder

ASIDE = re.compile(r"\.(aliases\.json|failed-\d+|removed-\d+)-[0-9a-f]{8}")


def name_aside(name: str) -> str:
    """A hidden name beside `name` that `sweep_folder` knows."""
    return f".{name.removeprefix('.')}-{secrets.token_hex(4)}"


def replace_file(folder: Path, name: str, body: bytes) -> None:
    """Writes a file aside and renames it: readers see the old content or the new."""
    aside = folder / name_aside(name)
    with aside.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / name)
    sync_folder(folder)


def sweep_folder(folder: Path) -> None:
    """Deletes what dead processes left aside; the caller holds the lock.

    What cannot be deleted stays. Symbolic links are deleted, not followed.
    """
    for path in folder.iterdir():
        if ASIDE.fullmatch(path.name):
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
