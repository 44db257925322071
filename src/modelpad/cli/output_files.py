"""The files that commands write text to: checked before the work, and in place once complete."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from modelpad.errors import UsageError

STDIO = "-"


def check_parent(path: Path) -> None:
    """Raises `UsageError` if there is no folder for a file, before anything is computed in vain."""
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}.", hint="Create it first.")


@contextmanager
def open_output(name: str | None) -> Iterator[TextIO]:
    """Standard output, also for `-`, or a file that appears once complete, unless it is empty.

    It may be the file that is being read. A link is followed; a device or a pipe is written to
    directly. Raises `UsageError`.
    """
    if name is None or name == STDIO:
        yield sys.stdout
        return
    if _is_special(Path(name)):
        with _open(Path(name), name) as file:
            yield file
        return
    path = Path(os.path.realpath(name))
    partial = path.with_name(f".{path.name}.partial")
    file = _open(partial, name)
    try:
        with file:
            yield file
        if partial.stat().st_size:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _is_special(path: Path) -> bool:
    """Whether there is something that is no regular file, and must not be replaced by one."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:  # nothing there, or opening says what is wrong
        return False


def _open(path: Path, title: str) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise UsageError(
            f"{title} cannot be written: {error.strerror}.", hint="Choose another file."
        ) from error
