"""Models in other formats, imported once: the cache finds the bundle of a model by its content."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from modelpad import __version__
from modelpad.bundle import Bundle, open_bundle, write_bundle
from modelpad.confine import run_confined
from modelpad.convert.conversion import convert_model
from modelpad.convert.folders import FolderModel, build_request, describe_settings, open_model
from modelpad.convert.onnx import external_files
from modelpad.convert.source import ImportRequest
from modelpad.errors import BundleInvalid, StoreError, TooLarge

READ_BYTES = 1 << 20
MAX_FILES = 10_000  # of a model's folder


def import_cached(model: FolderModel, cache: Path, report: Callable[[str], None]) -> Bundle:
    """The bundle of a model, from `cache` if this very content was imported before.

    `report` receives a line about each new import, which runs in a child process.

    Raises:
        ConversionFailed, ParityFailed, MissingExtra, UsageError: the model cannot be imported.
        TooLarge: its folder has too many files.
    """
    folder = cache / hash_model(model) / model.name
    if folder.is_dir():
        try:
            return open_bundle(folder)
        except BundleInvalid:
            shutil.rmtree(folder, ignore_errors=True)
    report(f"Importing {model.path.name} ...")
    run_confined(lambda: _import(model, folder, report), f"Importing {model.path.name}")
    return open_bundle(folder)


def _import(model: FolderModel, folder: Path, report: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="modelpad-") as scratch:
        request = build_request(model, ImportRequest(ask=False), Path(scratch))
        conversion = convert_model(open_model(model, request), model.name, request, model.path)
    for note in (*model.notes, *conversion.notes):
        report(f"  note {note}")
    try:
        write_bundle(folder, conversion.manifest, conversion.files)
    except StoreError:
        if not folder.is_dir():  # else another process was faster
            raise


def hash_model(model: FolderModel) -> str:
    """SHA-256 of a model's content, and of what its folder says about it."""
    parts = [hash_content(model.path), describe_settings(model)]
    if model.weights is not None:
        parts.append(hash_content(model.weights))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def hash_content(path: Path) -> str:
    """SHA-256 of a folder, or of a file and the files that hold its weights.

    modelpad's version is included, as another version may convert differently. Raises `TooLarge`.
    """
    if path.is_dir():
        folder, files = path, list_files(path)
    else:
        folder, files = path.parent, [path, *external_files(path)]
    sums = hashlib.sha256(__version__.encode())
    for file in sorted(files):
        relative = os.fsencode(file.relative_to(folder))
        sums.update(b"\0%b\0%d\0" % (relative, file.stat().st_size))
        with file.open("rb") as stream:
            while chunk := stream.read(READ_BYTES):
                sums.update(chunk)
    return sums.hexdigest()


def list_files(folder: Path) -> list[Path]:
    """All files in a folder and below. Raises `TooLarge` if there are more than `MAX_FILES`."""
    found = list(islice(folder.rglob("*"), MAX_FILES + 1))
    if len(found) > MAX_FILES:
        raise TooLarge(
            f"{folder} has more than {MAX_FILES:,} files.",
            hint="Give the folder of the model alone.",
            limit=MAX_FILES,
            got=len(found),
        )
    return [each for each in found if each.is_file()]
