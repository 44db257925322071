"""Files that are staged or removed under a model's lock, and leftovers of killed processes.

The lock identifies leftovers: while it is held, no other process writes to the folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from modelpad.bundle.writer import sync_folder
from modelpad.errors import StoreError

STAGED = re.compile(
    r"\.(aliases\.json|model\.sig|seen\.json|(failed|data)-\d+|removed-\d+)-[0-9a-f]{8}"
)


def staged_name(name: str) -> str:
    """A hidden, unique name beside `name` that `remove_leftovers` recognises."""
    return f".{name.removeprefix('.')}-{secrets.token_hex(4)}"


def replace_file(folder: Path, name: str, body: bytes) -> None:
    """Replaces a file atomically: readers see the old content or the new.

    `name` may be in a folder of `folder`, beside which it is staged.
    """
    target = folder / name
    staged = folder / staged_name(target.name)
    with staged.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(target)
    sync_folder(target.parent)


@contextlib.contextmanager
def writing(place: str, hint: str) -> Iterator[None]:
    """Turns an `OSError` while `place` is written into a `StoreError`."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{place} cannot be written: {error.strerror}.", hint=hint) from error


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left staged. The caller holds the lock.

    Errors are ignored. Symbolic links are removed, not followed.
    """
    for path in folder.iterdir():
        if STAGED.fullmatch(path.name):
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
