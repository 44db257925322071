"""Locks on files and folders that are released when their process ends, even by SIGKILL.

On POSIX they are `flock` locks, which the kernel releases: a lock that can be acquired proves that
its last holder has finished or died. On Windows a byte of the file is locked. Folders cannot be
locked there, nor on file systems without locks; a folder then counts as abandoned by its age.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelpad.errors import StoreError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

MAX_WAIT_S = 30.0
FIRST_SLEEP_S, MAX_SLEEP_S = 0.0005, 0.02
# Where folders cannot be locked, one counts as abandoned at this age.
ABANDONED_AGE_S = 3600.0
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Holds the lock file `path`, creating it if necessary; waits for other holders.

    Threads exclude each other as processes do. The lock is not reentrant.

    Raises:
        StoreError: another process has held it for `MAX_WAIT_S`.
        OSError: the file cannot be opened; a symbolic link is not followed.
    """
    descriptor = _acquire(path)
    try:
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """A descriptor that holds the lock file `path` until it is closed; None if others hold it.

    A `shared` lock excludes only those that are not. Raises `OSError`.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o600)
        try:
            if not _try_lock(descriptor, shared=shared):
                os.close(descriptor)
                return None
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _acquire(path: Path) -> int:
    end, sleep_s = time.monotonic() + MAX_WAIT_S, FIRST_SLEEP_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o666)
        try:
            # A lock on a file that has been replaced or deleted meanwhile excludes nobody.
            if _try_lock(descriptor) and _is_at(descriptor, path):
                return descriptor
            if time.monotonic() > end:
                raise StoreError(
                    f"Another process has held the lock {path} for {MAX_WAIT_S:g} seconds.",
                    hint="Wait for the other modelpad process, or stop it, and try again.",
                )
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(sleep_s)
        sleep_s = min(2 * sleep_s, MAX_SLEEP_S)


@contextmanager
def claim_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder `PREFIX<pid>-<hex>` in `parent`, protected from `remove_abandoned`.

    The caller renames it when it is complete; otherwise it is removed on exit. Raises `OSError`.
    """
    while True:
        folder = parent / f"{prefix}{os.getpid()}-{secrets.token_hex(6)}"
        folder.mkdir()
        try:
            descriptor = _lock_folder(folder)
        except (BlockingIOError, FileNotFoundError):
            continue  # `remove_abandoned` removed it before it was locked
        if descriptor is None or _is_at(descriptor, folder):
            break
        os.close(descriptor)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def remove_abandoned(parent: Path, prefix: str) -> None:
    """Removes folders in `parent` that `claim_folder` created for processes that have died.

    Errors are ignored. Symbolic links are not followed.
    """
    ours = re.compile(re.escape(prefix) + r"\d+-[0-9a-f]{12}")
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if ours.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(folder: Path) -> None:
    descriptor = _lock_folder(folder)
    if descriptor is None:
        if time.time() - folder.stat().st_mtime > ABANDONED_AGE_S:
            shutil.rmtree(folder)
        return
    try:
        # The lock is held during removal, so that no process can claim the folder.
        if _is_at(descriptor, folder):
            shutil.rmtree(folder)
    finally:
        os.close(descriptor)


def _lock_folder(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; None if folders cannot be locked here.

    Raises `BlockingIOError` if another process holds it.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | NO_FOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _try_lock(descriptor: int, *, shared: bool = False) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the descriptor's file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
