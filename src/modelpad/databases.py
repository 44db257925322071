"""SQLite files that several processes write to: how they are created, opened and changed.

A file uses a write-ahead log. It is known by its format, and belongs to its owner only. This module
knows nothing about what is in one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelpad.bundle.locks import hold_lock
from modelpad.errors import StoreError

BUSY_S = 15.0  # how long a writer waits for the others


@dataclass(frozen=True, slots=True)
class DatabaseFormat:
    """What is in a file: `application` and `version` tell it from other programs' databases.

    `noun` names it in errors, `hint` says how one comes to be. `settings` are further pragmas of
    each connection.
    """

    noun: str
    application: int
    version: int
    schema: str
    hint: str
    settings: tuple[str, ...] = ()


def create_database(path: Path, kind: DatabaseFormat) -> None:
    """Creates the file if it does not exist, readable by its owner only.

    Several processes may do so at once. Raises `StoreError`, also for another program's file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with hold_lock(path.with_name(f".{path.name}.lock")):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            with translate_errors(kind), closing(_connect(path, kind)) as connection:
                if not _is_empty(connection):
                    _check_format(connection, path, kind)
                    return
                connection.execute("PRAGMA auto_vacuum = FULL")  # deleted rows shrink the file
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(
                    f"BEGIN; {kind.schema};"
                    f" PRAGMA application_id = {kind.application};"
                    f" PRAGMA user_version = {kind.version}; COMMIT;"
                )
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint=f"Choose another folder for the {kind.noun}, or change its permissions.",
        ) from error


@contextmanager
def open_database(
    path: Path, kind: DatabaseFormat, *, durable: bool = True
) -> Iterator[sqlite3.Connection]:
    """A connection in autocommit mode, for one thread. Raises `StoreError`.

    Each operation opens its own: connections must not be shared by threads or survive a fork, and
    opening one takes less than a millisecond. Without `durable`, a power failure, but no crash of a
    process, may undo the last changes.
    """
    if not path.is_file():
        raise StoreError(f"There is no {kind.noun} in {path}.", hint=kind.hint)
    with translate_errors(kind), closing(_connect(path, kind, durable=durable)) as connection:
        _check_format(connection, path, kind)
        yield connection


@contextmanager
def write_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that excludes other writers from its start: what it reads stays true."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back when the disk is full
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def translate_errors(kind: DatabaseFormat) -> Iterator[None]:
    """Turns SQLite's errors into `StoreError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            f"The {kind.noun} database cannot be used: {error}.",
            hint="Check its permissions and the free space of its disk.",
        ) from error


def _connect(path: Path, kind: DatabaseFormat, *, durable: bool = True) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    synchronous = "FULL" if durable else "NORMAL"
    try:
        for setting in (*kind.settings, f"synchronous = {synchronous}", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {setting}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return bool(tables == 0)


def _check_format(connection: sqlite3.Connection, path: Path, kind: DatabaseFormat) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (application, version) != (kind.application, kind.version):
        raise StoreError(
            f"{path} is not a {kind.noun} database of this version of modelpad.",
            hint="Choose another file, or use the modelpad that wrote it.",
        )
