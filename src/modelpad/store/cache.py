"""The versions of a remote store on this machine, each complete and verified, or absent.

A folder is named by the version and by the tag of its manifest, so that a store which was deleted
and made anew is not mistaken for the old one. While a bundle is in use, its process holds a shared
lock on a file beside it. Of the versions of a model that no process uses, the last few are kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from modelpad.bundle import Bundle, Manifest, open_bundle
from modelpad.bundle.locks import claim_folder, remove_abandoned, try_lock
from modelpad.bundle.reader import MANIFEST, SIGNATURE_FILE
from modelpad.errors import BundleInvalid
from modelpad.store.staging import replace_file, writing

STAGING = ".staging-"
VERSION = re.compile(r"\d+-[0-9a-f]{12}")
KEPT = 3  # versions of a model that no process uses: for roll-backs
PAUSE_S = 0.01

Download = Callable[[str, Path, int], None]


class BundleCache:
    """The bundles under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str, version: int, tag: str) -> Path:
        """Where a version is, once it is here."""
        digest = hashlib.sha256(tag.encode()).hexdigest()[:12]
        return self.root / name / f"{version}-{digest}"

    def use(self, folder: Path, get: Callable[[], Bundle]) -> Bundle:
        """The bundle in `folder` that `get` returns, which is not removed as long as it is in use.

        That is until the object is garbage, or the process ends.
        """
        lock = self._hold(folder)
        if lock is None:
            return get()
        try:
            bundle = get()
        except BaseException:
            os.close(lock)
            raise
        weakref.finalize(bundle, os.close, lock).atexit = False
        return bundle

    def remove_unused(self, folder: Path) -> None:
        """Removes versions of the model that has a version in `folder`; errors are ignored.

        It keeps those in use, and `KEPT` others that were used last.
        """
        if sys.platform == "win32":  # a lock there is never shared
            return
        with contextlib.suppress(OSError):
            versions = [path for path in folder.parent.iterdir() if VERSION.fullmatch(path.name)]
            unused = 0
            for version in sorted(versions, key=_last_used, reverse=True):
                lock = try_lock(_name_lock(version))
                if lock is None:
                    continue
                try:
                    unused += 1
                    if unused > KEPT:
                        _remove(version)
                finally:
                    os.close(lock)

    def find(self, folder: Path, *, verify: bool = True) -> Bundle | None:
        """The bundle, if it is here and intact; what is damaged is removed."""
        if not folder.is_dir():
            return None
        try:
            return open_bundle(folder, verify=verify)
        except BundleInvalid:
            shutil.rmtree(folder, ignore_errors=True)
            return None

    def fill(self, folder: Path, manifest: bytes, download: Download) -> Bundle:
        """Downloads a version's files, verifies them, and renames them into place.

        `manifest` is the content of `manifest.json`. `download` gets a file's name, where to write
        it, and its size in bytes. Two processes may fill the same folder; the first one to finish
        wins.

        Raises:
            BundleInvalid, ChecksumMismatch: the files are not those of the manifest; none is kept.
            StoreError: the folder cannot be written, or as `download` raises.
        """
        with self._writing():
            folder.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(folder.parent, STAGING)
            with claim_folder(folder.parent, STAGING) as staged:
                self._download(staged, manifest, download)
                try:
                    staged.rename(folder)
                except OSError:
                    if not folder.is_dir():  # else another process was faster
                        raise
        return open_bundle(folder, verify=False)

    def write_signature_file(self, folder: Path, body: bytes | None) -> None:
        """Replaces the signature of a version that is here; None removes it."""
        path = folder / SIGNATURE_FILE
        with self._writing():
            if body is None:
                if path.exists():  # the cache may be read-only
                    path.unlink(missing_ok=True)
            elif not path.is_file() or path.read_bytes() != body:
                replace_file(folder.parent, f"{folder.name}/{SIGNATURE_FILE}", body)

    @contextmanager
    def download(self, manifest: bytes, download: Download) -> Iterator[Bundle]:
        """A version's files, downloaded and verified, which are not kept. Raises as `fill`."""
        with self._writing():
            self.root.mkdir(parents=True, exist_ok=True)
            remove_abandoned(self.root, STAGING)
            with claim_folder(self.root, STAGING) as staged:
                yield self._download(staged, manifest, download)

    def _download(self, staged: Path, manifest: bytes, download: Download) -> Bundle:
        for name, record in Manifest.from_json(manifest).files.items():
            path = staged / name
            path.parent.mkdir(parents=True, exist_ok=True)
            download(name, path, record.bytes)
        (staged / MANIFEST).write_bytes(manifest)
        return open_bundle(staged)

    def _hold(self, folder: Path) -> int | None:
        """Locks a version against removal; None where that is impossible (a read-only disk)."""
        if sys.platform == "win32":
            return None
        path = _name_lock(folder)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            while (lock := try_lock(path, shared=True)) is None:
                time.sleep(PAUSE_S)  # it is being removed
            os.utime(path)
            return lock
        return None

    def _writing(self) -> AbstractContextManager[None]:
        return writing(
            f"The cache {self.root}",
            hint="Check permissions and free space, or choose another folder: MODELPAD_CACHE.",
        )


def _name_lock(folder: Path) -> Path:
    return folder.with_name(f".used-{folder.name}")


def _last_used(folder: Path) -> float:
    lock = _name_lock(folder)
    return (lock if lock.exists() else folder).stat().st_mtime


def _remove(folder: Path) -> None:
    """Removes a version whose lock is held: it is complete or absent, whatever happens."""
    aside = folder.with_name(f"{STAGING}{os.getpid()}-{secrets.token_hex(6)}")
    folder.rename(aside)
    shutil.rmtree(aside)
    _name_lock(folder).unlink()
