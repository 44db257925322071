"""Downloads that resume, report progress and are kept only once their content is verified.

A file is written to `FILE.<mirror>.part`, which is renamed when the SHA-256 of its decompressed
content is right, so a file under its own name is always complete. After a lost connection, the part
is kept and continued with a `Range` request, now or in a later run. Independent of file formats.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from modelpad import __version__
from modelpad.datasets.catalogue import CatalogueEntry, RemoteFile
from modelpad.datasets.progress import Progress, ProgressUpdate, ignore_progress
from modelpad.errors import DataSetNotFound

ByteCount = Callable[[int], None]
"""Called with the number of bytes downloaded so far."""

TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 16
MAX_CUTS = 8


class DownloadFailed(Exception):
    """A download from one address failed; the message gives the reason. Private to this module."""


def download_files(
    entry: CatalogueEntry,
    files: Sequence[RemoteFile],
    cache: Path | None,
    progress: Progress | None = None,
) -> None:
    """Downloads `files` of `entry` into `CACHE/NAME/`; progress counts the bytes of all of them.

    Raises DataSetNotFound, naming each missing file and where to put it, when no mirror delivers a
    file, when it cannot be written, or when there is no cache folder.
    """
    if cache is None:
        raise not_here(entry, files, None, ["there is no cache folder to download into"])
    folder = cache / entry.name
    total, done = sum(file.download_bytes for file in files), 0
    show = progress or ignore_progress

    def report(file_done: int) -> None:
        show(ProgressUpdate("download", entry.name, min(done + file_done, total), total, "bytes"))

    for position, file in enumerate(files):
        reasons: list[str] = []
        if not any(
            try_address(url, file, folder, report, reasons) for url in entry.addresses(file)
        ):
            raise not_here(entry, files[position:], folder, reasons)
        done += file.download_bytes
    show(ProgressUpdate("download", entry.name, total, total, "bytes", finished=True))


def try_address(
    url: str, file: RemoteFile, folder: Path, progress: ByteCount, reasons: list[str]
) -> bool:
    """Whether `file` was downloaded from `url`; if not, the reason is added to `reasons`."""
    try:
        fetch_file(url, file, folder, progress)
    except DownloadFailed as error:
        reasons.append(f"{url}: {error}")
        return False
    return True


def fetch_file(url: str, file: RemoteFile, folder: Path, progress: ByteCount) -> Path:
    """Downloads `url` to `folder/file.name`, continuing an earlier incomplete download.

    Raises DownloadFailed: the server is unreachable, rejects the request, keeps closing the
    connection, or sends content other than `file.sha256`.
    """
    mirror = hashlib.sha256(url.encode()).hexdigest()[:8]
    part = folder / f"{file.name}.{mirror}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with claim_part(part) as (path, stream):
            resumed = stream.seek(0, os.SEEK_END) > 0
            receive_all(url, stream, progress)
            if hash_content(path) != file.sha256 and resumed:
                # The part from an earlier run may be what is damaged: start again.
                stream.truncate(0)
                receive_all(url, stream, progress)
            if (found := hash_content(path)) != file.sha256:
                path.unlink()
                raise DownloadFailed(
                    f"sends other content (SHA-256 {found[:12]}..., not {file.sha256[:12]}...)"
                )
            os.fsync(stream.fileno())
            return path.replace(folder / file.name)
    except OSError as error:
        raise DownloadFailed(f"cannot be written: {describe(error)}") from error


@contextmanager
def claim_part(part: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """The file `part`, open and locked; a private one when another process has locked it."""
    stream = part.open("a+b")
    if not lock_file(stream):
        stream.close()
        part = part.with_name(f"{part.name}-{os.getpid()}")
        stream = part.open("w+b")
    with stream:
        yield part, stream


def lock_file(stream: BinaryIO) -> bool:
    """Whether this process now holds the lock (always true where there are no file locks)."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def receive_all(url: str, stream: BinaryIO, progress: ByteCount) -> None:
    """Receives the rest of `url` into `stream`, reconnecting as long as there is progress.

    Raises DownloadFailed when a request brings no new bytes, or after MAX_CUTS connections.
    """
    for _ in range(MAX_CUTS):
        before = stream.seek(0, os.SEEK_END)
        try:
            if receive(url, stream, progress):
                return
            problem = f"the connection was cut off after {stream.tell():,} bytes"
        except (http.client.HTTPException, OSError) as error:
            problem = describe(error)
        if stream.seek(0, os.SEEK_END) <= before:
            break
    raise DownloadFailed(problem)


def receive(url: str, stream: BinaryIO, progress: ByteCount) -> bool:
    """One request for the rest of `url`, appended to `stream`; whether it is complete now."""
    have = stream.seek(0, os.SEEK_END)
    headers = {"User-Agent": f"modelpad/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return True  # the server has no more bytes; the checksum decides
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT or not starts_at(response, have):
            stream.truncate(0)
            have = 0
        return append_body(response, stream, have, progress)


def append_body(
    response: http.client.HTTPResponse, stream: BinaryIO, have: int, progress: ByteCount
) -> bool:
    """Appends the body of `response` to `have` bytes; false when it ended before its length."""
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else 0
    while chunk := response.read(CHUNK_BYTES):
        stream.write(chunk)
        have += len(chunk)
        progress(have)
    stream.flush()
    return have >= total


def starts_at(response: http.client.HTTPResponse, start: int) -> bool:
    """Whether a partial response begins at the byte that was requested."""
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def hash_content(path: Path) -> str:
    """SHA-256 of the decompressed content of a gzip file; "" when that is incomplete or damaged."""
    digest = hashlib.sha256()
    try:
        with gzip.open(path, "rb") as content:
            while chunk := content.read(CHUNK_BYTES):
                digest.update(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return ""
    return digest.hexdigest()


def describe(error: Exception) -> str:
    """Why a request failed, for a person."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server responds {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"cannot be reached ({error.reason})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def not_here(
    entry: CatalogueEntry, files: Sequence[RemoteFile], folder: Path | None, reasons: list[str]
) -> DataSetNotFound:
    """The error for files that cannot be downloaded; its hint says which files to put where."""
    names = ", ".join(file.name for file in files)
    place = f"{folder}/" if folder else f"a folder {entry.name}/ inside MODELPAD_DATA"
    return DataSetNotFound(
        f"{entry.name} was not found and cannot be downloaded: {'; '.join(reasons)}.",
        hint=f"Put {names} into {place}, or use uci-digits, which needs no download.",
        files=[file.name for file in files],
        folder=str(folder) if folder else None,
    )
