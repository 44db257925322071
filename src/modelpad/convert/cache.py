"""Models in other formats, imported once: the cache finds the bundle of a file by its content."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from modelpad import __version__
from modelpad.bundle import Bundle, open_bundle, write_bundle
from modelpad.confine import run_confined
from modelpad.convert.conversion import convert_model
from modelpad.convert.detect import open_source
from modelpad.convert.onnx import external_files
from modelpad.convert.source import ImportRequest
from modelpad.errors import BundleInvalid, StoreError

READ_BYTES = 1 << 20


def import_cached(path: Path, cache: Path, report: Callable[[str], None]) -> Bundle:
    """The bundle of a model's file, from `cache` if this very content was imported before.

    `report` receives a line about each new import, which runs in a child process.

    Raises:
        ConversionFailed, ParityFailed, MissingExtra: the model cannot be imported.
    """
    name = name_from_path(path)
    folder = cache / hash_content(path) / name
    if folder.is_dir():
        try:
            return open_bundle(folder)
        except BundleInvalid:
            shutil.rmtree(folder, ignore_errors=True)
    report(f"Importing {path.name} ...")
    run_confined(lambda: _import(path, name, folder, report), f"Importing {path.name}")
    return open_bundle(folder)


def _import(path: Path, name: str, folder: Path, report: Callable[[str], None]) -> None:
    request = ImportRequest(ask=False)
    conversion = convert_model(open_source(path, request), name, request, path)
    for note in conversion.notes:
        report(f"  note {note}")
    try:
        write_bundle(folder, conversion.manifest, conversion.files)
    except StoreError:
        if not folder.is_dir():  # else another process was faster
            raise


def hash_content(path: Path) -> str:
    """SHA-256 of a folder, or of a file and the files that hold its weights.

    modelpad's version is included, as another version may convert differently.
    """
    if path.is_dir():
        folder, files = path, [each for each in path.rglob("*") if each.is_file()]
    else:
        folder, files = path.parent, [path, *external_files(path)]
    sums = hashlib.sha256(__version__.encode())
    for file in sorted(files):
        relative = os.fspath(file.relative_to(folder))
        sums.update(f"\0{relative}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(READ_BYTES):
                sums.update(chunk)
    return sums.hexdigest()


def name_from_path(path: Path) -> str:
    """A valid model name made from a file's: `My Model.keras` becomes `my-model`."""
    name = re.sub(r"[^a-z0-9._-]+", "-", path.resolve().stem.lower()).strip("-._")
    return name[:64] or "model"
