"""The SQLite file of feedback: its format, how it is created and opened.

Items are stored in the database itself, in a table of their own, so that one transaction covers an
item with its labels. The file uses a write-ahead log, as several processes write at once; every
commit is synced. Deleted bytes are overwritten. It knows nothing about corrections.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from modelpad.bundle.locks import hold_lock
from modelpad.errors import StoreError

BUSY_S = 15.0  # how long a writer waits for the others
FORMAT = 1
APPLICATION = 0x6D706664  # "mpfd": tells this file from other programs' databases
SCHEMA = f"""
BEGIN;
CREATE TABLE items (
    id TEXT PRIMARY KEY, model TEXT NOT NULL, version INTEGER NOT NULL, created TEXT NOT NULL,
    media_type TEXT NOT NULL, bytes INTEGER NOT NULL,
    predicted TEXT NOT NULL, label TEXT NOT NULL, note TEXT NOT NULL, token TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE bodies (id TEXT PRIMARY KEY, body BLOB NOT NULL);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
COMMIT;
"""


def create_database(path: Path) -> None:
    """Creates the file if it does not exist, readable by its owner only.

    Several processes may do so at once. Raises `StoreError`, also for another program's file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with hold_lock(path.with_name(f".{path.name}.lock")):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            with translate_errors(), closing(_connect(path)) as connection:
                if not _is_empty(connection):
                    _check_format(connection, path)
                    return
                connection.execute("PRAGMA auto_vacuum = FULL")  # deleted items shrink the file
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(SCHEMA)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Choose another folder for feedback, or change its permissions.",
        ) from error


@contextmanager
def open_database(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection in autocommit mode, for one thread. Raises `StoreError`.

    Each operation opens its own: connections must not be shared by threads or survive a fork, and
    opening one takes less than a millisecond.
    """
    if not path.is_file():
        raise StoreError(
            f"There is no feedback in {path}.",
            hint="A server collects it with: modelpad serve --feedback DIR",
        )
    with translate_errors(), closing(_connect(path)) as connection:
        _check_format(connection, path)
        yield connection


@contextmanager
def write_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that excludes other writers from its start: what it reads stays true."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def erase_log(connection: sqlite3.Connection) -> None:
    """Moves the log into the database and empties it: until then, it holds deleted bytes."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turns SQLite's errors into `StoreError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"The feedback database cannot be used: {error}.",
            hint="Check its permissions and the free space of its disk.",
        ) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        for setting in ("secure_delete = ON", "synchronous = FULL", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {setting}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return bool(tables == 0)


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (application, version) != (APPLICATION, FORMAT):
        raise StoreError(
            f"{path} is not a feedback database of this version of modelpad.",
            hint="Choose another file, or use the modelpad that wrote it.",
        )
