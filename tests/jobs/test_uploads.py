"""Uploads: files in parts, each with its owner, within limits, and for some days."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelpad.errors import InvalidInput, NotFound, StoreError, TooLarge, UploadsFull
from modelpad.jobs.uploads import UploadLimits, Uploads


def test_a_file_arrives_in_parts(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "uploads")
    upload = uploads.create("ann", b"one")
    assert uploads.append(upload.id, "ann", 3, b"two").path.read_bytes() == b"onetwo"
    for offset in (3, 7):
        with pytest.raises(InvalidInput, match="6 bytes have arrived"):
            uploads.append(upload.id, "ann", offset, b"two")
    assert uploads.open(upload.id, None).bytes == 6
    for owner, id in (("bob", upload.id), ("ann", "0" * 24), ("ann", "../" * 8)):
        with pytest.raises(NotFound):
            uploads.open(id, owner)
    uploads.delete(upload.id, "ann")
    with pytest.raises(NotFound):
        uploads.append(upload.id, "ann", 6, b"three")


def test_limits(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, UploadLimits(files=2, bytes=10, total_bytes=12))
    first = uploads.create("ann", b"12345678")
    with pytest.raises(TooLarge, match="larger than"):
        uploads.append(first.id, "ann", 8, b"123")
    second = uploads.create("bob", b"1234")
    with pytest.raises(UploadsFull):
        uploads.append(second.id, "bob", 4, b"5")
    first.delete()
    uploads.create("ann", b"1")
    with pytest.raises(UploadsFull):
        uploads.create("ann", b"1")


def test_old_files_are_deleted(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    old, new = uploads.create("ann", b"old"), uploads.create("ann", b"new")
    before = time.time() - uploads.limits.keep_s - 1
    os.utime(old.path, (before, before))
    uploads.create("ann", b"another")
    assert not old.folder.exists()
    assert new.path.read_bytes() == b"new"


def test_an_upload_that_fails_leaves_nothing(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    killed = tmp_path / f".{'0' * 24}"
    killed.mkdir()
    with pytest.raises(TypeError):
        uploads.create("ann", "no bytes")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="The upload cannot be written"):
        Uploads(tmp_path / "file").create("ann", b"1")
