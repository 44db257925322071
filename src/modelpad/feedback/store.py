"""Stores corrections, deduplicated and bounded, and deletes them for good."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.databases import create_database, open_database, write_transaction
from modelpad.errors import FeedbackFull, NotFound
from modelpad.feedback.database import FEEDBACK, erase_log
from modelpad.feedback.entry import Correction, Entry, Item, Receipt

if TYPE_CHECKING:
    import sqlite3

MB = 1024 * 1024
COLUMNS = "id, model, version, created, media_type, bytes, predicted, label, note"
TOKEN_BYTES = 16


@dataclass(frozen=True, slots=True)
class FeedbackLimits:
    """How many items are kept, and how many bytes they may have together."""

    max_items: int = 10_000
    max_bytes: int = 1024 * MB


class FeedbackStore:
    """The corrections in one SQLite file; any number of threads and processes may use it at once.

    Every method raises `StoreError` if the file cannot be used.
    """

    def __init__(self, path: Path, limits: FeedbackLimits | None = None) -> None:
        """Touches nothing yet: `create` makes the file, the other methods need it."""
        self.path = path
        self.limits = limits or FeedbackLimits()

    def create(self) -> None:
        """Creates the file, unless it exists."""
        create_database(self.path, FEEDBACK)

    def add(self, correction: Correction, now: datetime) -> Receipt:
        """Stores a correction durably; it replaces an earlier one of the same model and item.

        `now` is an aware time in UTC. Raises `FeedbackFull` if the limits leave no room.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with open_database(self.path, FEEDBACK) as connection:
            with write_transaction(connection):
                replaced = self._find(connection, correction.id) is not None
                if not replaced:
                    self._check_room(connection, len(correction.item.body))
                    self._insert_body(connection, correction)
                self._put(connection, correction, now, token)
            return Receipt(correction.id, token, replaced)

    def entries(self, model: str | None = None) -> list[Entry]:
        """All corrections, or one model's, oldest first."""
        where = "" if model is None else "WHERE model = ?"
        given = () if model is None else (model,)
        with open_database(self.path, FEEDBACK) as connection:
            rows = connection.execute(
                f"SELECT {COLUMNS} FROM items {where} ORDER BY created, id", given
            )
            return [Entry(*row) for row in rows]

    def find(self, id: str) -> tuple[Entry, Item]:
        """One correction and its item. Raises `NotFound`."""
        with open_database(self.path, FEEDBACK) as connection:
            entry = self._find(connection, id)
            row = connection.execute("SELECT body FROM bodies WHERE id = ?", (id,)).fetchone()
        if entry is None or row is None:
            raise no_entry(id)
        return entry, Item(entry.media_type, bytes(row[0]))

    def items(self, model: str | None = None) -> Iterator[tuple[Entry, Item]]:
        """All corrections with their items, oldest first, one in memory at a time.

        Those deleted meanwhile are left out.
        """
        for entry in self.entries(model):
            try:
                yield self.find(entry.id)
            except NotFound:
                continue

    def delete(self, id: str) -> None:
        """Deletes a correction; its bytes are overwritten. Raises `NotFound`."""
        with open_database(self.path, FEEDBACK) as connection:
            self._delete(connection, id, token=None)

    def undo(self, id: str, token: str) -> None:
        """Deletes the correction that returned `token`, unless a later one has replaced it.

        Raises `NotFound`, also for a wrong token.
        """
        with open_database(self.path, FEEDBACK) as connection:
            self._delete(connection, id, token)

    def _delete(self, connection: sqlite3.Connection, id: str, token: str | None) -> None:
        with write_transaction(connection):
            row = connection.execute("SELECT token FROM items WHERE id = ?", (id,)).fetchone()
            if row is None:
                raise no_entry(id)
            if token is not None and not hmac.compare_digest(row[0], hash_token(token)):
                raise no_entry(id)
            connection.execute("DELETE FROM bodies WHERE id = ?", (id,))
            connection.execute("DELETE FROM items WHERE id = ?", (id,))
        erase_log(connection)

    def _find(self, connection: sqlite3.Connection, id: str) -> Entry | None:
        row = connection.execute(f"SELECT {COLUMNS} FROM items WHERE id = ?", (id,)).fetchone()
        return None if row is None else Entry(*row)

    def _check_room(self, connection: sqlite3.Connection, size: int) -> None:
        count, used = connection.execute("SELECT count(*), total(bytes) FROM items").fetchone()
        if count >= self.limits.max_items or used + size > self.limits.max_bytes:
            raise FeedbackFull(
                f"The server keeps at most {self.limits.max_items:,} corrections,"
                f" and {self.limits.max_bytes / MB:,.0f} MB of them.",
                hint="Its operator can export and delete some, or raise --feedback-max-items and"
                " --feedback-max-mb.",
                limit=self.limits.max_items,
            )

    def _insert_body(self, connection: sqlite3.Connection, correction: Correction) -> None:
        row = (correction.id, correction.item.body)
        connection.execute("INSERT INTO bodies (id, body) VALUES (?, ?)", row)

    def _put(
        self, connection: sqlite3.Connection, correction: Correction, now: datetime, token: str
    ) -> None:
        item = correction.item
        row = {
            "id": correction.id,
            "model": correction.model,
            "version": correction.version,
            "created": now.isoformat(timespec="milliseconds"),
            "media_type": item.media_type,
            "bytes": len(item.body),
            "predicted": correction.predicted,
            "label": correction.label,
            "note": correction.note,
            "token": hash_token(token),
        }
        names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
        connection.execute(f"INSERT OR REPLACE INTO items ({names}) VALUES ({places})", row)


def hash_token(token: str) -> str:
    """What is stored of a token: whoever reads the file cannot undo others' corrections."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def no_entry(id: str) -> NotFound:
    """The error for an unknown id; to be raised by the caller."""
    return NotFound(
        f"There is no correction {id[:40]!r}.", hint="modelpad feedback list shows all."
    )
