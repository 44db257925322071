"""Opens a bundle's folder, and verifies it."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from modelpad.bundle.external_data import find_locations
from modelpad.bundle.manifest import FileRecord, Manifest
from modelpad.errors import BundleInvalid, ChecksumMismatch
from modelpad.foreign_json import load_json

GRAPH = "model.onnx"
AGAIN = "Push or train it again; a good copy cannot be made from a damaged one."


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its folder and its manifest."""

    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        """A listed file's path.

        Raises `BundleInvalid` when the manifest does not list it, or a part of the path is a link.
        """
        if name not in self.manifest.files:
            raise BundleInvalid(f"The bundle {self.folder} has no {name}.", hint=AGAIN)
        check_plain(self.folder, name)
        return self.folder / name

    @property
    def graph_bytes(self) -> int:
        """The size of the graph, with the weights that lie beside it."""
        files = self.manifest.files.items()
        return sum(record.bytes for name, record in files if name.startswith(GRAPH))

    def read_json(self, name: str) -> Any:
        """A listed JSON file. Raises `BundleInvalid` when it is not JSON."""
        try:
            return load_json(self.path(name).read_bytes())
        except (OSError, ValueError) as error:
            raise BundleInvalid(f"{name} cannot be read: {error}.", hint=AGAIN) from error


def open_bundle(folder: Path, *, verify: bool = True) -> Bundle:
    """The bundle in `folder`; with `verify`, every file's size and SHA-256 are checked.

    `folder` itself may be a link; nothing inside it may. With `verify`, the graph may keep weights
    only in files that the manifest lists.

    Raises:
        BundleInvalid: no manifest, one that makes no sense, a file that is missing or not a plain
            one, or a graph with weights in other files.
        ChecksumMismatch: a file is not the one that was written; the error names it.
    """
    check_plain(folder, "manifest.json")
    try:
        body = (folder / "manifest.json").read_bytes()
    except OSError as error:
        raise BundleInvalid(
            f"{folder} is not a bundle: manifest.json cannot be read ({error.strerror}).",
            hint="Give the folder that holds manifest.json.",
        ) from error
    bundle = Bundle(folder, Manifest.from_json(body))
    if GRAPH not in bundle.manifest.files:
        raise BundleInvalid(f"The bundle {folder} lists no {GRAPH}.", hint=AGAIN)
    if verify:
        for name, record in bundle.manifest.files.items():
            check_plain(folder, name)
            _verify_file(folder / name, name, record)
        _verify_locations(bundle)
    return bundle


def check_plain(folder: Path, name: str) -> None:
    """Raises `BundleInvalid` unless `name` is a regular file in real folders, or is not there."""
    parts = PurePosixPath(name).parts
    for count in range(1, len(parts) + 1):
        path = folder.joinpath(*parts[:count])
        try:
            mode = path.lstat().st_mode
        except OSError:
            return  # reading it will say what is wrong
        wanted = stat.S_ISREG if count == len(parts) else stat.S_ISDIR
        if not wanted(mode):
            where = path.relative_to(folder).as_posix()
            kind = "a link" if stat.S_ISLNK(mode) else "not a plain file or folder"
            raise BundleInvalid(
                f"{where} is {kind}.", hint="A bundle holds plain files and folders only."
            )


def _verify_locations(bundle: Bundle) -> None:
    try:
        locations = find_locations(bundle.folder / GRAPH)
    except (OSError, ValueError) as error:
        raise BundleInvalid(f"{GRAPH} is not an ONNX graph: {error}.", hint=AGAIN) from error
    unlisted = sorted(locations - set(bundle.manifest.files))
    if unlisted:
        raise BundleInvalid(
            f"{GRAPH} keeps weights in {unlisted[0]!r}, which manifest.json does not list.",
            hint="Do not use this bundle unless you know who made it.",
            file=unlisted[0],
        )


def _verify_file(path: Path, name: str, record: FileRecord) -> None:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleInvalid(
            f"The bundle's file {name} cannot be read: {error.strerror}.", hint=AGAIN, file=name
        ) from error
    if size != record.bytes or digest != record.sha256:
        raise ChecksumMismatch(
            f"The bundle's file {name} is not the one that was written"
            f" ({size:,} bytes; {record.bytes:,} expected).",
            hint=AGAIN,
            file=name,
        )
