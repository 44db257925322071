"""Locks on files and folders that end with the process that holds them, SIGKILL included.

On POSIX they are `flock` locks: the kernel releases them, so a lock that can be taken proves that
its last holder is done or dead. Windows locks a byte of the file; its folders cannot be locked, and
there (and on file systems without locks) a folder is taken for dead by its age.
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
# Where nothing proves that a folder is dead, it has to be this old.
DEAD_AGE_S = 3600.0
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Holds the lock file `path`, which is created where it is missing; waits for other holders.

    Threads exclude each other as processes do. The same thread must not take a lock twice.

    Raises:
        StoreError: another process has held it for `MAX_WAIT_S`.
        OSError: the file cannot be opened; a symbolic link is not followed.
    """
    descriptor = _acquire(path)
    try:
        yield
    finally:
        os.close(descriptor)


def _acquire(path: Path) -> int:
    end, sleep_s = time.monotonic() + MAX_WAIT_S, FIRST_SLEEP_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o666)
        try:
            # A lock on a file that was replaced or deleted meanwhile excludes nobody.
            if _try_lock(descriptor) and _is_at(descriptor, path):
                return descriptor
            if time.monotonic() > end:
                raise StoreError(
                    f"Another process has held the lock {path} for {MAX_WAIT_S:g} seconds.",
                    hint="Wait for the other modelpad, or end it, and try again.",
                )
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(sleep_s)
        sleep_s = min(2 * sleep_s, MAX_SLEEP_S)


@contextmanager
def claim_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder `PREFIX<pid>-<hex>` in `parent` that `remove_dead` leaves alone until the end.

    It is meant to be renamed when it is complete; otherwise it is removed. Raises `OSError`.
    """
    while True:
        folder = parent / f"{prefix}{os.getpid()}-{secrets.token_hex(6)}"
        folder.mkdir()
        try:
            descriptor = _lock_folder(folder)
        except (BlockingIOError, FileNotFoundError):
            continue  # `remove_dead` was faster than the lock
        if descriptor is None or _is_at(descriptor, folder):
            break
        os.close(descriptor)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def remove_dead(parent: Path, prefix: str) -> None:
    """Removes the folders that `claim_folder` made in `parent` for processes that are dead now.

    What cannot be removed stays. Symbolic links are not followed.
    """
    ours = re.compile(re.escape(prefix) + r"\d+-[0-9a-f]{12}")
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if ours.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_if_dead(Path(entry.path))


def _remove_if_dead(folder: Path) -> None:
    descriptor = _lock_folder(folder)
    if descriptor is None:
        if time.time() - folder.stat().st_mtime > DEAD_AGE_S:
            shutil.rmtree(folder)
        return
    try:
        # The lock is held during the removal, so that no process can claim the folder.
        if _is_at(descriptor, folder):
            shutil.rmtree(folder)
    finally:
        os.close(descriptor)


def _lock_folder(folder: Path) -> int | None:
    """The descriptor that locks the folder; None where folders cannot be locked.

    Raises `BlockingIOError` when another process holds it.
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


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether `path` is what the descriptor has open."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
