"""The members of zip and tar archives, plain or compressed, one after the other.

What is neither a file nor a folder (links, devices, pipes) raises an error: no data set needs it,
and a link can lead out of the folder that an archive is unpacked into. Writes nothing.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal, cast

from modelpad.errors import DataSetInvalid, TooLarge

ArchiveKind = Literal["zip", "tar", "gzip", "bzip2", "xz", "parquet"]

MAGIC: dict[bytes, ArchiveKind] = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PAR1": "parquet",
}
TAR_MAGIC_OFFSET = 257
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
ENCRYPTED = 0x1
CHUNK_BYTES = 1 << 20
MAX_HEADER_BYTES = 1 << 20
XZ_MEMORY_BYTES = 256 << 20

DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,
    UnicodeError,
    ValueError,
    OSError,
)
"""What the standard library raises for a damaged archive."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file or folder of an archive. `size_bytes` is declared, not yet verified."""

    name: str
    size_bytes: int
    is_folder: bool
    open: Callable[[], IO[bytes]]


def detect_archive(path: Path) -> ArchiveKind | None:
    """The kind of archive by its first bytes; None when it is none that can be unpacked."""
    with path.open("rb") as stream:
        head = stream.read(512)
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return kind
    return "tar" if head[TAR_MAGIC_OFFSET : TAR_MAGIC_OFFSET + 5] == b"ustar" else None


@contextmanager
def open_stream(path: Path, kind: ArchiveKind) -> Iterator[IO[bytes]]:
    """The decompressed content of a tar, gzip, bzip2 or xz file."""
    with path.open("rb") as raw:
        if kind == "gzip":
            yield cast(IO[bytes], gzip.GzipFile(fileobj=raw))
        elif kind == "bzip2":
            yield bz2.BZ2File(raw)
        elif kind == "xz":
            yield io.BufferedReader(XzReader(raw), CHUNK_BYTES)
        else:
            yield raw


def holds_tar(path: Path, kind: ArchiveKind) -> bool:
    """Whether the decompressed content is a tar archive."""
    with open_stream(path, kind) as stream:
        head = stream.read(512)
    return head[TAR_MAGIC_OFFSET : TAR_MAGIC_OFFSET + 5] == b"ustar"


def list_zip(path: Path) -> Iterator[Member]:
    """The members of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            mode = entry.external_attr >> 16
            kind = stat.S_IFMT(mode)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise not_a_file(path, entry.filename, "link" if stat.S_ISLNK(mode) else "device")
            if entry.flag_bits & ENCRYPTED:
                raise unsupported(path, entry.filename, "is encrypted")
            if entry.compress_type not in ZIP_METHODS:
                raise unsupported(path, entry.filename, "is compressed in an unsupported way")
            yield Member(
                entry.orig_filename,
                entry.file_size,
                entry.is_dir(),
                partial(archive.open, entry),
            )


def measure_zip(path: Path) -> int:
    """The size of all members together, as the archive declares it."""
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def list_tar(path: Path, kind: ArchiveKind) -> Iterator[Member]:
    """The members of a tar archive, plain or compressed, in one pass over it."""
    with (
        open_stream(path, kind) as stream,
        tarfile.open(fileobj=cast(IO[bytes], TarReader(stream, path)), mode="r:") as archive,
    ):
        while (entry := archive.next()) is not None:
            # tarfile would remember every member that it has passed.
            archive.members.clear()  # type: ignore[attr-defined]
            if not (entry.isfile() or entry.isdir()) or entry.issparse():
                raise not_a_file(path, entry.name, "link" if is_link(entry) else "device")
            yield Member(entry.name, entry.size, entry.isdir(), partial(open_tar, archive, entry))


def is_link(entry: tarfile.TarInfo) -> bool:
    """Whether a member is a symbolic or hard link."""
    return entry.issym() or entry.islnk()


def open_tar(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    """The content of a member that is a file."""
    content = archive.extractfile(entry)
    if content is None:
        raise tarfile.TarError(f"{entry.name} has no content")
    return content


class XzReader(io.RawIOBase):
    """The content of an xz file, decompressed within a limit of memory.

    `lzma.open` has no such limit, and a file may require a dictionary of 4 GiB.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._decoder: lzma.LZMADecompressor | None = None
        self._input = b""

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fills `buffer` in part; 0 at the end. Raises EOFError when the file is truncated."""
        while True:
            if self._decoder is None or self._decoder.eof:
                if self._decoder is not None:
                    self._input = self._decoder.unused_data
                self._input = (self._input or self._raw.read(CHUNK_BYTES)).lstrip(b"\0")
                if not self._input:
                    return 0
                self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)
            elif self._decoder.needs_input:
                self._input = self._raw.read(CHUNK_BYTES)
                if not self._input:
                    raise EOFError("the xz stream ends early")
            output = self._decoder.decompress(self._input, max_length=len(buffer))
            self._input = b""
            if output:
                buffer[: len(output)] = output
                return len(output)


class TarReader:
    """A stream that can only be read forward, as `tarfile` needs it.

    Rejects very long headers, which `tarfile` would keep in memory. Remembers the last byte, as
    `tarfile` steps back by one between members.
    """

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream = stream
        self._path = path
        self._position = 0
        self._last = b""
        self._stepped_back = False

    def tell(self) -> int:
        """The place of the next byte."""
        return self._position

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Moves forward, or back by one byte."""
        if whence != io.SEEK_SET or position < self._position - 1:
            raise tarfile.ReadError("the archive cannot be read in one pass")
        if position == self._position - 1 and self._last:
            self._position, self._stepped_back = position, True
            return position
        while self._position < position:
            if not self._take(min(CHUNK_BYTES, position - self._position)):
                raise tarfile.ReadError("unexpected end of data")
        return position

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes. Raises TooLarge for more than `MAX_HEADER_BYTES`."""
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise TooLarge(
                f"{self._path} has a header of more than {MAX_HEADER_BYTES:,} bytes.",
                hint="Do not use this file.",
                limit=MAX_HEADER_BYTES,
            )
        return self._take(size)

    def _take(self, size: int) -> bytes:
        body = b""
        if self._stepped_back and size:
            body, self._stepped_back = self._last, False
        parts = [body]
        missing = size - len(body)
        while missing and (chunk := self._stream.read(missing)):
            parts.append(chunk)
            missing -= len(chunk)
        body = b"".join(parts)
        self._position += len(body)
        self._last = body[-1:] or self._last
        return body


def not_a_file(path: Path, name: str, kind: str) -> DataSetInvalid:
    """The error for a member that is neither file nor folder; to be raised by the caller."""
    return DataSetInvalid(
        f"{path} contains {name[:200]!r}, a {kind}: only files and folders are unpacked.",
        hint="Unpack it yourself if you trust it, and give the path of the folder.",
        path=str(path),
        member=name,
    )


def unsupported(path: Path, name: str, reason: str) -> DataSetInvalid:
    """The error for a member that cannot be read; to be raised by the caller."""
    return DataSetInvalid(
        f"{path} contains {name[:200]!r}, which {reason}.",
        hint="Unpack it yourself, and give the path of the folder.",
        path=str(path),
        member=name,
    )
