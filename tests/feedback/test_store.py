"""Corrections on disk: once each, bounded, durable, and gone when they are deleted."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelpad.errors import FeedbackFull, NotFound, StoreError, UsageError
from modelpad.feedback import (
    HELD_OUT,
    TRAINING,
    Correction,
    FeedbackLimits,
    FeedbackStore,
    Item,
    locate_feedback,
    read_corrections,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PNG = b"\x89PNG a secret picture"


def make_correction(body: bytes = PNG, label: str = "7") -> Correction:
    return Correction("digits", 1, Item("image/png", body), "1", label, "told so")


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    made = FeedbackStore(locate_feedback(str(tmp_path / "feedback")))
    made.create()
    return made


def test_a_correction_is_read_back(store: FeedbackStore) -> None:
    receipt = store.add(make_correction(), NOW)
    (entry,) = store.entries()
    assert (entry.id, entry.model, entry.version) == (receipt.id, "digits", 1)
    assert (entry.predicted, entry.label, entry.note) == ("1", "7", "told so")
    assert entry.created == "2026-01-02T03:04:05.000+00:00"
    assert not entry.is_right
    assert store.find(receipt.id) == (entry, Item("image/png", PNG))
    assert store.entries("others") == []
    assert store.path.stat().st_mode & 0o077 == 0, "only the owner may read it"


def test_a_later_correction_of_an_item_replaces_the_earlier_one(store: FeedbackStore) -> None:
    first = store.add(make_correction(), NOW)
    second = store.add(replace(make_correction(), label="9", version=2), NOW + timedelta(1))
    assert (first.id, first.replaced, second.replaced) == (second.id, False, True)
    (entry,) = store.entries()
    assert (entry.label, entry.version) == ("9", 2)
    with pytest.raises(NotFound):
        store.undo(first.id, first.token)  # it is another's correction by now
    store.undo(second.id, second.token)
    assert store.entries() == []


def test_the_same_item_of_another_model_is_another_one(store: FeedbackStore) -> None:
    store.add(make_correction(), NOW)
    store.add(replace(make_correction(), model="letters"), NOW)
    assert len(store.entries()) == 2


def test_deleted_bytes_are_gone(store: FeedbackStore) -> None:
    kept = store.add(make_correction(b"\x89PNG kept" * 5000), NOW)
    gone = store.add(make_correction(b"\x89PNG gone" * 5000), NOW)
    with sqlite3.connect(store.path) as reader:  # holds the log open
        reader.execute("SELECT count(*) FROM items").fetchall()
        store.delete(gone.id)
        files = [path.read_bytes() for path in store.path.parent.iterdir()]
        assert not any(b"PNG gone" in body for body in files)
        assert any(b"PNG kept" in body for body in files)
    reader.close()
    with pytest.raises(NotFound):
        store.delete(gone.id)
    assert [entry.id for entry in store.entries()] == [kept.id]


def test_limits_leave_what_is_there(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "f.sqlite", FeedbackLimits(max_items=2, max_bytes=100))
    store.create()
    store.add(make_correction(b"a" * 60), NOW)
    with pytest.raises(FeedbackFull):
        store.add(make_correction(b"b" * 41), NOW)
    store.add(make_correction(b"c"), NOW)
    with pytest.raises(FeedbackFull):
        store.add(make_correction(b"d"), NOW)
    assert store.add(make_correction(b"c", label="3"), NOW).replaced, "needs no room"
    assert len(store.entries()) == 2


def test_many_write_at_once(store: FeedbackStore) -> None:
    def add(number: int) -> None:
        FeedbackStore(store.path).create()
        FeedbackStore(store.path).add(make_correction(b"item %d" % (number % 20)), NOW)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(60)))
    assert len(store.entries()) == 20


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from modelpad.feedback import Correction, FeedbackStore, Item

store = FeedbackStore(Path(sys.argv[1]))
store.create()
for number in range(100_000):
    item = Item("image/png", b"%d" % number)
    print(store.add(Correction("m", 1, item, "a", "b"), datetime.now(UTC)).id, flush=True)
"""


def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "f.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(30)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += writer.stdout.read().split()
    writer.wait()
    known = {entry.id for entry in FeedbackStore(path).entries()}
    assert {id for id in acknowledged if len(id) == 16} <= known
    assert FeedbackStore(path).add(make_correction(), NOW)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no feedback"):
        FeedbackStore(tmp_path / "none.sqlite").entries()
    (tmp_path / "text").write_bytes(b"certainly no database" * 100)
    with pytest.raises(StoreError):
        FeedbackStore(tmp_path / "text").create()
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreError, match="not a feedback database"):
        FeedbackStore(tmp_path / "other.sqlite").create()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        FeedbackStore(tmp_path / "file" / "below" / "f.sqlite").create()


def test_locations() -> None:
    assert locate_feedback("some/folder") == Path("some/folder/feedback.sqlite")
    assert locate_feedback("sqlite:some/file.db") == Path("some/file.db")
    for wrong in ("", " ", "sqlite:", "postgres://host/db"):
        with pytest.raises(UsageError):
            locate_feedback(wrong)


def test_corrections_are_halved_for_good(store: FeedbackStore) -> None:
    for number in range(40):
        store.add(make_correction(b"%d" % number, str(number % 3)), NOW + timedelta(0, number))
    location = store.path.parent
    train = list(read_corrections(location, "digits"))
    held_out = list(read_corrections(f"sqlite:{store.path}", "digits", HELD_OUT))
    assert 8 < len(train) < 32
    assert {one.item for one in train} | {one.item for one in held_out} == {
        b"%d" % number for number in range(40)
    }
    assert len(train) + len(held_out) == 40
    item, label, id, created = train[0]
    assert label == str(int(item) % 3)
    store.add(make_correction(item, "other"), NOW)
    assert next(iter(read_corrections(location, "digits", TRAINING)))[:3] == (item, "other", id)
    assert created.startswith("2026-01-02T03:04")
    assert list(read_corrections(location, "letters", None)) == []
