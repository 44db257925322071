"""What `serve` and `predict` are given: a model of the store, a bundle, or a foreign model's file.

A foreign model is imported into the cache, once for its content.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad import __version__
from modelpad.cli.confine import run_confined
from modelpad.errors import ModelNotFound, VersionNotFound

if TYPE_CHECKING:
    from modelpad.cli.settings import Settings
    from modelpad.store import ResolvedBundle

log = logging.getLogger("modelpad.server")

CHUNK = 1 << 20
FOREIGN = (
    ".keras",
    ".h5",
    ".pt",
    ".pt2",
    ".pth",
    ".onnx",
    ".tflite",
    ".skops",
    ".ubj",
    ".txt",
    ".json",
)


def find_model(given: str, settings: Settings) -> ResolvedBundle:
    """The bundle that `given` means, of a foreign model's file too.

    Raises:
        ModelNotFound, VersionNotFound, BundleInvalid: as `resolve_bundle` does.
        ConversionFailed, ParityFailed, MissingExtra: as `modelpad import` does.
    """
    from modelpad.bundle import open_bundle
    from modelpad.store import resolve_bundle

    path = Path(given)
    is_bundle = (path / "manifest.json").is_file()
    looks_foreign = path.is_file() or (path / "saved_model.pb").is_file()
    is_path = len(path.parts) > 1 or path.suffix in FOREIGN
    if is_path and not path.exists():
        raise ModelNotFound(f"There is no file {given}.", hint="Check the path.")
    if is_path and path.is_dir() and not (is_bundle or looks_foreign):
        open_bundle(path)  # says what it lacks
    if is_bundle or not looks_foreign:
        return resolve_bundle(given, settings.store)
    return import_once(path, settings.cache / "imports")


def find_live(word: str, live: Mapping[str, int], settings: Settings) -> ResolvedBundle:
    """What `word` means to servers: the `live` version where others serve it already.

    To the store it may mean what they keep out. Raises as `find_model`.
    """
    name = word.partition("@")[0]
    if name in live and not Path(word).exists():
        with contextlib.suppress(VersionNotFound):  # it was removed, and others are there
            return find_model(f"{name}@{live[name]}", settings)
    return find_model(pass_over_failed(word, settings), settings)


def pass_over_failed(word: str, settings: Settings) -> str:
    """`word`; or the version before, where a server has kept out the one that it means.

    Who follows the store tries that one again at once.
    """
    from modelpad.store import LocalStore

    store = LocalStore(settings.store)
    if word not in store.names():
        return word
    meant = store.resolve(word).version
    reason = store.read_failure(word, meant)
    if reason is None:
        return word
    for version in reversed(store.versions(word)):
        if version < meant and store.read_failure(word, version) is None:
            log.warning("%s: version %d was kept out before: %s", word, meant, reason)
            return f"{word}@{version}"
    return word


def import_once(path: Path, cache: Path) -> ResolvedBundle:
    """The bundle of a foreign model, from the cache when this very content was imported before."""
    from modelpad.bundle import open_bundle
    from modelpad.errors import BundleInvalid
    from modelpad.store import ResolvedBundle

    name = name_after(path)
    folder = cache / hash_files(path) / name
    if folder.is_dir():
        try:
            return ResolvedBundle(name, 1, open_bundle(folder))
        except BundleInvalid:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"Importing {path.name} ...", file=sys.stderr, flush=True)
    run_confined(lambda: import_into(path, name, folder), f"Importing {path.name}")
    return ResolvedBundle(name, 1, open_bundle(folder))


def import_into(path: Path, name: str, folder: Path) -> None:
    """Imports a foreign model as the bundle `folder`, unless another process was faster."""
    from modelpad.bundle import write_bundle
    from modelpad.convert import ImportRequest, convert_model, open_source
    from modelpad.errors import StoreError

    request = ImportRequest()
    conversion = convert_model(open_source(path, request), name, request)
    for note in conversion.notes:
        print(f"  note {note}", file=sys.stderr)
    try:
        write_bundle(folder, conversion.manifest, conversion.files)
    except StoreError:
        if not folder.is_dir():
            raise


def hash_files(path: Path) -> str:
    """SHA-256 of a file and of those that keep its weights, or of a folder.

    modelpad's version is part of it, as another version may convert otherwise.
    """
    from modelpad.convert import external_files

    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        files = [each for each in path.rglob("*") if each.is_file()]
    else:
        files = [path, *external_files(path)]
    sums = hashlib.sha256(__version__.encode())
    for file in sorted(files):
        stat = file.stat()
        sums.update(f"\0{os.fspath(file.relative_to(folder))}\0{stat.st_size}\0".encode())
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                sums.update(chunk)
    return sums.hexdigest()


def name_after(path: Path) -> str:
    """A model's name made of a file's: `My Model.keras` is `my-model`."""
    name = re.sub(r"[^a-z0-9._-]+", "-", path.resolve().stem.lower()).strip("-._")
    return name[:64] or "model"
