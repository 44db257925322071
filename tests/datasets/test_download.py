"""Downloads from a real server on loopback: cut, resumed, wrong, refused."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from modelpad.datasets.catalogue import MNIST, CatalogueEntry, RemoteFile
from modelpad.datasets.download import download_files, fetch_file
from modelpad.datasets.idx import encode_idx
from modelpad.datasets.mnist import load_mnist
from modelpad.datasets.progress import ProgressUpdate
from modelpad.errors import DataSetInvalid, DataSetNotFound

CONTENT = np.random.default_rng(1).bytes(400_000)
BODY = gzip.compress(CONTENT)
FILE = RemoteFile("digits.gz", hashlib.sha256(CONTENT).hexdigest(), len(BODY))


class Mirror(BaseHTTPRequestHandler):
    """Serves `bodies`, at most `cut_bytes` an answer when that is not 0; keeps what was asked."""

    protocol_version = "HTTP/1.1"
    bodies: ClassVar[dict[str, bytes]] = {}
    cut_bytes: ClassVar[int] = 0
    obeys_ranges: ClassVar[bool] = True
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append((self.path, wanted))
        body = self.bodies.get(self.path)
        if body is None:
            self.send_error(404)
            return
        start = int(wanted[6:].split("-")[0]) if wanted and self.obeys_ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        self.wfile.write(rest[: self.cut_bytes] if self.cut_bytes else rest)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[str]:
    Mirror.bodies, Mirror.asked = {"/digits.gz": BODY}, []
    Mirror.cut_bytes, Mirror.obeys_ranges = 0, True
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def entry_at(*mirrors: str) -> CatalogueEntry:
    return CatalogueEntry("tiny", "Tiny", "CC0", "tests", mirrors, (FILE,))


def parts_in(folder: Path) -> list[Path]:
    return list(folder.glob("*.part*"))


def test_a_whole_file_is_kept_under_its_name_and_progress_ends_at_the_total(
    mirror: str, tmp_path: Path
) -> None:
    updates: list[ProgressUpdate] = []
    download_files(entry_at(mirror), [FILE], tmp_path, progress=updates.append)
    assert (tmp_path / "tiny" / "digits.gz").read_bytes() == BODY
    assert updates[-1] == ProgressUpdate(
        "download", "tiny", len(BODY), len(BODY), "bytes", finished=True
    )
    counts = [update.done for update in updates]
    assert sorted(counts) == counts
    assert {update.total for update in updates} == {len(BODY)}
    assert [update.finished for update in updates[:-1]] == [False] * (len(updates) - 1)
    assert not parts_in(tmp_path / "tiny") or not parts_in(tmp_path / "tiny")[0].stat().st_size


def test_a_cut_connection_is_continued_where_it_was_cut(mirror: str, tmp_path: Path) -> None:
    Mirror.cut_bytes = 150_000
    fetch_file(mirror + FILE.name, FILE, tmp_path, lambda *_: None)
    assert (tmp_path / FILE.name).read_bytes() == BODY
    assert [wanted for _, wanted in Mirror.asked] == [None, "bytes=150000-", "bytes=300000-"]


def test_a_later_run_goes_on_with_what_an_earlier_one_left(mirror: str, tmp_path: Path) -> None:
    Mirror.cut_bytes = 20_000  # more cuts than one run bears
    with pytest.raises(DataSetNotFound, match="cut"):
        download_files(entry_at(mirror), [FILE], tmp_path)
    left = parts_in(tmp_path / "tiny")
    assert len(left) == 1
    have = left[0].stat().st_size
    assert have > 100_000
    Mirror.cut_bytes, Mirror.asked = 0, []
    download_files(entry_at(mirror), [FILE], tmp_path)
    assert Mirror.asked == [("/digits.gz", f"bytes={have}-")]
    assert (tmp_path / "tiny" / "digits.gz").read_bytes() == BODY


def test_a_server_without_ranges_is_asked_for_everything_again(mirror: str, tmp_path: Path) -> None:
    Mirror.cut_bytes = 20_000
    with pytest.raises(DataSetNotFound):
        download_files(entry_at(mirror), [FILE], tmp_path)
    Mirror.cut_bytes, Mirror.obeys_ranges = 0, False
    download_files(entry_at(mirror), [FILE], tmp_path)
    assert (tmp_path / "tiny" / "digits.gz").read_bytes() == BODY


def test_other_content_is_refused_and_the_next_mirror_asked(mirror: str, tmp_path: Path) -> None:
    Mirror.bodies["/wrong/digits.gz"] = gzip.compress(b"a page that wants a login")
    download_files(entry_at(mirror + "wrong/", mirror), [FILE], tmp_path)
    assert (tmp_path / "tiny" / "digits.gz").read_bytes() == BODY
    with pytest.raises(DataSetNotFound, match="other content"):
        download_files(entry_at(mirror + "wrong/"), [FILE], tmp_path / "alone")
    assert not (tmp_path / "alone" / "tiny" / "digits.gz").exists()


def test_a_damaged_beginning_from_an_earlier_run_is_taken_anew(mirror: str, tmp_path: Path) -> None:
    Mirror.cut_bytes = 20_000
    with pytest.raises(DataSetNotFound):
        download_files(entry_at(mirror), [FILE], tmp_path)
    part = parts_in(tmp_path / "tiny")[0]
    part.write_bytes(b"\0" * part.stat().st_size)
    Mirror.cut_bytes = 0
    download_files(entry_at(mirror), [FILE], tmp_path)
    assert (tmp_path / "tiny" / "digits.gz").read_bytes() == BODY


def test_with_no_network_the_error_says_which_file_to_put_where(tmp_path: Path) -> None:
    nowhere = entry_at("http://127.0.0.1:9/")
    with pytest.raises(DataSetNotFound) as raised:
        download_files(nowhere, [FILE], tmp_path)
    assert "digits.gz" in raised.value.hint
    assert str(tmp_path / "tiny") in raised.value.hint


def test_mnist_is_downloaded_only_where_it_is_missing(mirror: str, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    shapes = [(60, 28, 28), (60,), (20, 28, 28), (20,)]
    files = []
    for file, shape in zip(MNIST.files, shapes, strict=True):
        content = encode_idx(random.integers(0, 10, shape, dtype=np.uint8))
        Mirror.bodies[f"/{file.name}"] = body = gzip.compress(content)
        files.append(RemoteFile(file.name, hashlib.sha256(content).hexdigest(), len(body)))
    entry = replace(MNIST, mirrors=(mirror,), files=tuple(files))
    for _ in range(2):
        data = load_mnist(cache=tmp_path, entry=entry)
        assert data.train.images.shape == (60, 28, 28)
    assert len(Mirror.asked) == 4


def test_without_a_cache_nothing_is_downloaded(mirror: str) -> None:
    with pytest.raises(DataSetNotFound, match="no cache"):
        download_files(entry_at(mirror), [FILE], None)
    assert Mirror.asked == []


def test_a_cache_that_cannot_be_written_is_said(mirror: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataSetNotFound, match="cannot be written"):
        download_files(entry_at(mirror), [FILE], tmp_path / "file")


def test_a_half_file_in_the_cache_is_named_not_believed(mirror: str, tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    for file in MNIST.files:
        (tmp_path / "mnist" / file.name).write_bytes(BODY[:1000])
    with pytest.raises(DataSetInvalid, match="train-images"):
        load_mnist(cache=tmp_path)
