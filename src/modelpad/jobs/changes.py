"""Notices that jobs have changed, cheaply enough to look many times a second."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from modelpad.databases import translate_errors
from modelpad.jobs.database import JOBS


class ChangeWatch:
    """Watches a queue's file, for one thread; the first look counts as a change.

    SQLite counts the changes that other connections have made.
    """

    def __init__(self, path: Path) -> None:
        """Raises `StoreError` if there is no such file."""
        with translate_errors(JOBS):
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
        self._seen: int | None = None

    def read_version(self) -> int:
        """A number that changes whenever anything has changed. Raises `StoreError`."""
        with translate_errors(JOBS):
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def has_changed(self) -> bool:
        """Whether anything has changed since the last look. Raises `StoreError`."""
        version = self.read_version()
        changed = version != self._seen
        self._seen = version
        return changed

    def expect_change(self) -> None:
        """Makes the next look count as a change."""
        self._seen = None

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()
