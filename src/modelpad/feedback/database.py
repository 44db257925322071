"""The SQLite file of feedback.

Items are stored in the database itself, in a table of their own, so that one transaction covers an
item with its labels. Every commit is synced. Deleted bytes are overwritten. It knows nothing about
corrections.
"""

from __future__ import annotations

import sqlite3

from modelpad.databases import DatabaseFormat

SCHEMA = """
CREATE TABLE items (
    id TEXT PRIMARY KEY, model TEXT NOT NULL, version INTEGER NOT NULL, created TEXT NOT NULL,
    media_type TEXT NOT NULL, bytes INTEGER NOT NULL,
    predicted TEXT NOT NULL, label TEXT NOT NULL, note TEXT NOT NULL, token TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE bodies (id TEXT PRIMARY KEY, body BLOB NOT NULL)
"""
FEEDBACK = DatabaseFormat(
    noun="feedback",
    application=0x6D706664,  # "mpfd"
    version=1,
    schema=SCHEMA,
    hint="A server collects it with: modelpad serve --feedback DIR",
    settings=("secure_delete = ON",),
)


def erase_log(connection: sqlite3.Connection) -> None:
    """Moves the log into the database and empties it: until then, it holds deleted bytes."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
