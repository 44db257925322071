"""Downloads that resume, show progress and are believed only once their content is verified.

A file grows aside, in `FILE.<mirror>.part`, and is renamed into place when the SHA-256 of its
decompressed content is right; so a file under its own name is always whole. What a cut connection
left is kept and continued by a `Range` request, now or in a later run. Knows no file formats.
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
from modelpad.errors import DataSetNotFound

Progress = Callable[[int, int], None]
"""Called with what is done and the total: bytes of a download, pictures of a folder."""

TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 16
MAX_CUTS = 8


class DownloadFailed(Exception):
    """One address did not give the file; the message says why. Never leaves this module."""


def download_files(
    entry: CatalogueEntry,
    files: Sequence[RemoteFile],
    cache: Path | None,
    progress: Progress | None = None,
) -> None:
    """Downloads `files` of `entry` into `CACHE/NAME/`; progress counts the bytes of all of them.

    Raises DataSetNotFound, naming each file still missing and where to put it, when no mirror gives
    a file, when it cannot be written, or when there is no cache to write it into.
    """
    if cache is None:
        raise not_here(entry, files, None, ["there is no cache folder to download into"])
    folder = cache / entry.name
    total, done = sum(file.download_bytes for file in files), 0
    for position, file in enumerate(files):

        def report(
            file_done: int, _: int, start: int = done, size: int = file.download_bytes
        ) -> None:
            if progress is not None:
                progress(start + min(file_done, size), total)

        reasons: list[str] = []
        if not any(
            try_address(url, file, folder, report, reasons) for url in entry.addresses(file)
        ):
            raise not_here(entry, files[position:], folder, reasons)
        done += file.download_bytes
        report(file.download_bytes, 0)


def try_address(
    url: str, file: RemoteFile, folder: Path, progress: Progress, reasons: list[str]
) -> bool:
    """Whether `url` gave `file` into `folder`; if not, why is added to `reasons`."""
    try:
        fetch_file(url, file, folder, progress)
    except DownloadFailed as error:
        reasons.append(f"{url}: {error}")
        return False
    return True


def fetch_file(url: str, file: RemoteFile, folder: Path, progress: Progress) -> Path:
    """Downloads `url` to `folder/file.name`, going on where an earlier try was cut.

    Raises DownloadFailed: the address cannot be reached, refuses, is cut off again and again, or
    gives other content than `file.sha256`.
    """
    mirror = hashlib.sha256(url.encode()).hexdigest()[:8]
    part = folder / f"{file.name}.{mirror}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with claim_part(part) as (path, stream):
            resumed = stream.seek(0, os.SEEK_END) > 0
            receive_whole(url, stream, progress)
            if hash_content(path) != file.sha256 and resumed:
                # The beginning came from another run: the fault may lie there, so take all anew.
                stream.truncate(0)
                receive_whole(url, stream, progress)
            if (found := hash_content(path)) != file.sha256:
                path.unlink()
                raise DownloadFailed(
                    f"gives other content (SHA-256 {found[:12]}..., not {file.sha256[:12]}...)"
                )
            os.fsync(stream.fileno())
            return path.replace(folder / file.name)
    except OSError as error:
        raise DownloadFailed(f"cannot be written: {describe(error)}") from error


@contextmanager
def claim_part(part: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """The file `part`, open at its end and locked; a private one when another process has it."""
    stream = part.open("a+b")
    if not lock_file(stream):
        stream.close()
        part = part.with_name(f"{part.name}-{os.getpid()}")
        stream = part.open("w+b")
    with stream:
        yield part, stream


def lock_file(stream: BinaryIO) -> bool:
    """Whether this process alone holds the open file from now on (true where locks are unknown)."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def receive_whole(url: str, stream: BinaryIO, progress: Progress) -> None:
    """Receives what `stream` lacks of `url`, asking again after every cut that brought something.

    Raises DownloadFailed when a try brings nothing or after MAX_CUTS cuts.
    """
    for _ in range(MAX_CUTS):
        before = stream.seek(0, os.SEEK_END)
        try:
            if receive(url, stream, progress):
                return
            problem = f"the connection was cut after {stream.tell():,} bytes"
        except (http.client.HTTPException, OSError) as error:
            problem = describe(error)
        if stream.seek(0, os.SEEK_END) <= before:
            break
    raise DownloadFailed(problem)


def receive(url: str, stream: BinaryIO, progress: Progress) -> bool:
    """One request for the rest of `url`, appended to `stream`; whether it is whole now."""
    have = stream.seek(0, os.SEEK_END)
    headers = {"User-Agent": f"modelpad/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return True  # nothing is left to send; the checksum decides
        raise
    with answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT or not starts_at(answer, have):
            stream.truncate(0)
            have = 0
        return append_body(answer, stream, have, progress)


def append_body(
    answer: http.client.HTTPResponse, stream: BinaryIO, have: int, progress: Progress
) -> bool:
    """Appends the body of `answer` after `have` bytes; false when it ended before its length."""
    length = answer.headers.get("Content-Length")
    total = have + int(length) if length else 0
    while chunk := answer.read(CHUNK_BYTES):
        stream.write(chunk)
        have += len(chunk)
        progress(have, total)
    stream.flush()
    return have >= total


def starts_at(answer: http.client.HTTPResponse, start: int) -> bool:
    """Whether a partial answer really begins where it was asked to."""
    return answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def hash_content(path: Path) -> str:
    """SHA-256 of the decompressed content of a gzip file; "" when it is not a whole gzip file."""
    digest = hashlib.sha256()
    try:
        with gzip.open(path, "rb") as content:
            while chunk := content.read(CHUNK_BYTES):
                digest.update(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return ""
    return digest.hexdigest()


def describe(error: Exception) -> str:
    """Why a request failed, in words for a person."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"cannot be reached ({error.reason})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def not_here(
    entry: CatalogueEntry, files: Sequence[RemoteFile], folder: Path | None, reasons: list[str]
) -> DataSetNotFound:
    """The error for files that can be had nowhere; it says which to put where."""
    names = ", ".join(file.name for file in files)
    place = f"{folder}/" if folder else f"a folder {entry.name}/ inside MODELPAD_DATA"
    return DataSetNotFound(
        f"{entry.name} is not here and cannot be downloaded: {'; '.join(reasons)}.",
        hint=f"Put {names} into {place}, or use uci-digits, which needs no download.",
        files=[file.name for file in files],
        folder=str(folder) if folder else None,
    )
