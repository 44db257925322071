"""Transactions of SQLite files."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from modelpad.databases import write_transaction


def test_the_error_of_a_transaction_that_sqlite_has_rolled_back_is_reported() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (n UNIQUE)")
        connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(sqlite3.IntegrityError), write_transaction(connection):
            connection.execute("INSERT OR ROLLBACK INTO t VALUES (1)")
        with write_transaction(connection):
            connection.execute("INSERT INTO t VALUES (2)")
