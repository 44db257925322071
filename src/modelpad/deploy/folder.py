"""Writes a plan's files into a folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from modelpad.deploy.deployment import Content, Plan
from modelpad.deploy.locked import HEADER
from modelpad.errors import StoreError, UsageError

MODELS = "models"


def check_folder(folder: Path, *, replace: bool) -> None:
    """Raises `UsageError` unless `folder` is new, empty, or may be written over.

    A folder `models` may be replaced only if an earlier deploy wrote it.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file.", hint="Give the path of a folder.")
    if folder.exists() and any(folder.iterdir()) and not replace:
        raise UsageError(
            f"{folder} is not empty.",
            hint="Choose a folder that does not exist yet, or write over its files with --force.",
        )
    models = folder / MODELS
    if models.is_symlink() or (models.exists() and not _is_deployed(folder)):
        raise UsageError(
            f"{models} was not written by modelpad deploy.",
            hint="Choose another folder; --force replaces the models of an earlier deploy only.",
        )


def write_folder(plan: Plan, folder: Path, *, replace: bool = False) -> list[Path]:
    """Writes all files; with `replace`, over those that exist. Returns their paths.

    The folder `models` is replaced as a whole: no old version stays in the next image.

    Raises:
        UsageError: the folder is not empty, or its `models` are the user's own.
        StoreError: it cannot be written.
    """
    check_folder(folder, replace=replace)
    models = folder / MODELS
    for content in plan.files.values():
        if isinstance(content, Path) and content.resolve().is_relative_to(models.resolve()):
            raise UsageError(
                f"{content} is to be deployed, and is in the folder that is replaced.",
                hint="Choose another folder.",
            )
    shutil.rmtree(models, ignore_errors=True)
    return write_files(plan.files, folder)


def write_files(files: Mapping[str, Content], folder: Path) -> list[Path]:
    """Writes files by their paths in a folder, and returns where they are. Raises `StoreError`."""
    written = []
    try:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content) if isinstance(content, bytes) else shutil.copyfile(
                content, path
            )
            written.append(path)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written: {error.strerror}.",
            hint="Check permissions and free space, or choose another folder.",
        ) from error
    return written


def _is_deployed(folder: Path) -> bool:
    """Whether a deploy has written into a folder: its requirements begin with its mark."""
    try:
        with (folder / "requirements.txt").open("rb") as file:
            return file.read(len(HEADER)) == HEADER.encode("utf-8")
    except OSError:
        return False


def measure_content(content: Content) -> int:
    """The size of a file in bytes."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size
