"""Archives unpacked safely: completely or not at all, inside one folder, within limits.

Everything is written to a staging folder beside the target, which is renamed at the end, so the
target is complete when it exists. Independent of what the files are.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from modelpad.datasets.archive_members import (
    CHUNK_BYTES,
    DAMAGED,
    Member,
    detect_archive,
    holds_tar,
    list_tar,
    list_zip,
    measure_zip,
    open_stream,
)
from modelpad.datasets.progress import Progress, ProgressUpdate, ignore_progress
from modelpad.errors import DataSetInvalid, ModelpadError, TooLarge

COMPRESSED_SUFFIX = re.compile(r"\.(gz|bz2|xz)$", re.IGNORECASE)
UNSAFE_NAME = re.compile(r"[\x00-\x1f\\]|^[A-Za-z]:|^/")


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """At most `max_bytes` in `max_members`, and `max_ratio` times the size of the archive.

    The ratio counts only above `ratio_from_bytes`: small files may compress very well.
    """

    max_bytes: int = 64 << 30
    max_members: int = 1_000_000
    max_ratio: int = 200
    ratio_from_bytes: int = 256 << 20

    def allowed_bytes(self, archive_bytes: int) -> int:
        """How much an archive of `archive_bytes` may unpack to."""
        return min(self.max_bytes, max(self.ratio_from_bytes, self.max_ratio * archive_bytes))


def unpack_archive(
    path: Path,
    folder: Path,
    *,
    sha256: str | None = None,
    limits: UnpackLimits | None = None,
    progress: Progress | None = None,
) -> Path:
    """Unpacks a zip, tar (.gz, .bz2, .xz), gzip or parquet file into `folder`, and returns that.

    Does nothing when `folder` exists. `sha256` is the expected SHA-256 of the archive itself.
    Raises DataSetInvalid: another checksum, a damaged file, a member that is a link or device or
    whose path leaves the folder. TooLarge: a limit is exceeded. MissingExtra: parquet without
    pyarrow. Nothing is left behind in any of these cases.
    """
    if sha256 is not None:
        require_sha256(path, hash_file(path), sha256)
    if folder.is_dir():
        return folder
    limits = limits or UnpackLimits()
    with stage_folder(folder, path) as staging:
        quota = Quota(path, limits, progress or ignore_progress)
        try:
            unpack_into(path, staging, quota)
        except ModelpadError:
            raise
        except DAMAGED as error:
            raise DataSetInvalid(
                f"{path} cannot be unpacked: {str(error) or type(error).__name__}.",
                hint="The archive is damaged or the disk is full: check both, then try again.",
                path=str(path),
            ) from error
        quota.finish()
    return folder


def unpack_into(path: Path, staging: Path, quota: Quota) -> None:
    """Unpacks every member of `path` into the empty folder `staging`."""
    kind = detect_archive(path)
    if kind is None:
        raise DataSetInvalid(
            f"{path} is not an archive that can be unpacked.",
            hint="Supported are zip, tar, tar.gz, tar.bz2, tar.xz, gzip and parquet.",
            path=str(path),
        )
    if kind == "parquet":
        from modelpad.datasets.parquet import unpack_parquet

        unpack_parquet(path, staging, quota)
    elif kind == "zip":
        quota.expect(measure_zip(path))
        write_members(list_zip(path), staging, quota)
    elif kind == "tar" or holds_tar(path, kind):
        write_members(list_tar(path, kind), staging, quota)
    else:
        with open_stream(path, kind) as stream:
            name = COMPRESSED_SUFFIX.sub("", path.name)
            write_members([Member(name, 0, False, lambda: stream)], staging, quota)


def write_members(members: Iterable[Member], staging: Path, quota: Quota) -> None:
    """Writes the members below `staging`, each once."""
    written: set[str] = set()
    for member in members:
        parts = check_name(quota.archive, member.name)
        quota.count_member(member.size_bytes)
        target = staging.joinpath(*parts)
        if member.is_folder:
            target.mkdir(parents=True, exist_ok=True)
            continue
        key = "/".join(parts).casefold()
        if not parts or key in written:
            raise DataSetInvalid(
                f"{quota.archive} contains {member.name[:200]!r} more than once.",
                hint="Unpack it yourself if you trust it, and give the path of the folder.",
                path=str(quota.archive),
                member=member.name,
            )
        written.add(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as source, target.open("xb") as stream:
            while chunk := source.read(CHUNK_BYTES):
                quota.count_bytes(len(chunk))
                stream.write(chunk)


def check_name(archive: Path, name: str) -> list[str]:
    """The parts of a member's path. Raises DataSetInvalid when it leaves the folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if UNSAFE_NAME.search(name) or ".." in parts:
        raise DataSetInvalid(
            f"{archive} contains {name[:200]!r}, a path that leads out of the archive.",
            hint="Do not use this file.",
            path=str(archive),
            member=name,
        )
    return parts


@dataclass(slots=True)
class Quota:
    """Counts what is unpacked from `archive`, reports it, and raises TooLarge over a limit."""

    archive: Path
    limits: UnpackLimits
    progress: Progress
    done_bytes: int = 0
    declared_bytes: int = 0
    members: int = 0
    total_bytes: int | None = None
    allowed_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.allowed_bytes = self.limits.allowed_bytes(self.archive.stat().st_size)

    def expect(self, total_bytes: int) -> None:
        """Checks the size of all members before the first is written."""
        self._check(total_bytes)
        self.total_bytes = total_bytes

    def count_member(self, declared_bytes: int) -> None:
        """Counts a member before it is written, by the size that the archive declares."""
        self.members += 1
        self.declared_bytes += declared_bytes
        if self.members > self.limits.max_members:
            raise TooLarge(
                f"{self.archive} contains more than {self.limits.max_members:,} files.",
                hint="Unpack it yourself if you trust it, and give the path of the folder.",
                limit=self.limits.max_members,
            )
        self._check(self.declared_bytes)

    def count_bytes(self, count: int) -> None:
        """Counts bytes before they are written."""
        self.done_bytes += count
        self._check(self.done_bytes)
        done, total = self.done_bytes, self.total_bytes
        self.progress(ProgressUpdate("unpack", self.archive.name, done, total, "bytes"))

    def finish(self) -> None:
        """Reports the end."""
        done = self.done_bytes
        self.progress(ProgressUpdate("unpack", self.archive.name, done, done, "bytes", True))

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self.allowed_bytes:
            raise TooLarge(
                f"{self.archive} unpacks to more than {self.allowed_bytes:,} bytes:"
                " it may be a decompression bomb.",
                hint="Unpack it yourself if you trust it, and give the path of the folder.",
                limit=self.allowed_bytes,
            )


@contextmanager
def stage_folder(folder: Path, archive: Path) -> Iterator[Path]:
    """A new folder beside `folder`, renamed to it at the end, removed when anything fails."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise DataSetInvalid(
            f"{archive} cannot be unpacked into {folder.parent}: {error.strerror or error}.",
            hint="Set MODELPAD_CACHE to a folder that you can write to.",
            path=str(folder.parent),
        ) from error
    try:
        yield staging
        staging.chmod(0o755)
        try:
            staging.replace(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same content
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises DataSetInvalid when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataSetInvalid(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="Check that the file exists and that you may read it.",
            path=str(path),
        ) from error


def require_sha256(path: Path, found: str, expected: str) -> None:
    """Raises DataSetInvalid unless the SHA-256 that was found is the expected one."""
    if found != expected.strip().lower():
        raise DataSetInvalid(
            f"{path} has SHA-256 {found[:12]}..., not {expected[:12]}... as expected.",
            hint="Delete it and get it again from its source.",
            path=str(path),
            expected=expected,
            got=found,
        )
