"""Files that clients send for jobs, in parts: a folder for each, deleted when it is old.

    ID/owner     who may use it
    ID/file      what has arrived so far

This module does not look into the files.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from modelpad.bundle.locks import hold_lock
from modelpad.errors import InvalidInput, NotFound, TooLarge, UploadsFull
from modelpad.store.staging import writing

MB = 1 << 20
ID = re.compile(r"[0-9a-f]{24}")
ID_BYTES = 12
OWNER, FILE, LOCK = "owner", "file", ".lock"
FOLDER = "uploads"  # in that of the jobs


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How many files are kept, how long, and the most bytes of one and of all."""

    files: int = 100
    bytes: int = 512 * MB
    total_bytes: int = 4096 * MB
    keep_s: float = 2 * 24 * 3600.0


class Upload:
    """A file, whose folder exists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def id(self) -> str:
        """Its name in URLs."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE

    @property
    def bytes(self) -> int:
        """How many have arrived."""
        return self.path.stat().st_size

    def delete(self) -> None:
        """Deletes it."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Uploads:
    """All uploads under `root`; any number of processes may use them at once."""

    def __init__(self, root: Path, limits: UploadLimits | None = None) -> None:
        """`root` is created by the first upload."""
        self.root, self.limits = root, limits or UploadLimits()

    def create(self, owner: str, body: bytes) -> Upload:
        """A new one that begins with `body`. Raises `UploadsFull`, `TooLarge` and `StoreError`."""
        with self._changing():
            self._remove_old(time.time())
            self._check_room(len(body), len(body))
            if len(self._all()) >= self.limits.files:
                raise self._full()
            staged = self.root / f".{secrets.token_hex(ID_BYTES)}"
            try:
                staged.mkdir(mode=0o700)
                (staged / OWNER).write_text(owner, "utf-8")
                (staged / FILE).write_bytes(body)
                return Upload(staged.rename(self.root / staged.name[1:]))
            except BaseException:
                shutil.rmtree(staged, ignore_errors=True)
                raise

    def append(self, id: str, owner: str, offset: int, body: bytes) -> Upload:
        """Adds the bytes from `offset` on.

        Raises `InvalidInput` unless all bytes before it have arrived, and none after it;
        `NotFound`, and as `create`.
        """
        with self._changing():
            upload = self.open(id, owner)
            size = upload.bytes
            if offset != size:
                raise InvalidInput(
                    f"{size:,} bytes have arrived, and these begin at {offset:,}.",
                    hint=f"Send the bytes from {size} on.",
                    field="offset",
                    expected=str(size),
                    got=str(offset),
                )
            self._check_room(size + len(body), len(body))
            with upload.path.open("ab") as file:
                file.write(body)
            return upload

    def delete(self, id: str, owner: str) -> None:
        """Deletes an upload. Raises `NotFound`."""
        with self._changing():
            self.open(id, owner).delete()

    def remove_expired(self, now: float | None = None) -> None:
        """Deletes uploads whose time is up. Raises `StoreError`."""
        if self.root.is_dir():
            with self._changing():
                self._remove_old(time.time() if now is None else now)

    def open(self, id: str, owner: str | None) -> Upload:
        """An upload of that owner, or of any without one. Raises `NotFound`."""
        folder = self.root / id
        if ID.fullmatch(id) and folder.is_dir():
            with suppress(OSError):
                if owner is None or (folder / OWNER).read_text("utf-8") == owner:
                    return Upload(folder)
        raise NotFound(
            f"There is no upload {id[:40]!r}.", hint="Uploads are deleted after two days."
        )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        hint = "Check the permissions and the free space of the folder of --jobs."
        with writing("The upload", hint=hint):
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            with hold_lock(self.root / LOCK):
                yield

    def _all(self) -> list[Upload]:
        return [Upload(folder) for folder in self.root.iterdir() if ID.fullmatch(folder.name)]

    def _check_room(self, size: int, added: int) -> None:
        if size > self.limits.bytes:
            raise TooLarge(
                f"The file is larger than {self.limits.bytes / MB:,.0f} MB.",
                hint="Make it smaller, or use the command line: modelpad predict",
                limit=self.limits.bytes,
                got=size,
            )
        if sum(each.bytes for each in self._all()) + added > self.limits.total_bytes:
            raise self._full()

    def _full(self) -> UploadsFull:
        return UploadsFull(
            f"The server keeps at most {self.limits.files:,} uploads and"
            f" {self.limits.total_bytes / MB:,.0f} MB of them.",
            hint="Delete one that is not needed any more, or try again tomorrow.",
            limit=self.limits.total_bytes,
        )

    def _remove_old(self, now: float) -> None:
        """The caller holds the lock: what is staged has been left by a killed process."""
        for path in self.root.iterdir():
            if path.name[0] == "." and ID.fullmatch(path.name[1:]):
                shutil.rmtree(path, ignore_errors=True)
        for upload in self._all():
            with suppress(OSError):
                if upload.path.stat().st_mtime < now - self.limits.keep_s:
                    upload.delete()
