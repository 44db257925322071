"""Opens a bundle's folder, and verifies it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpad.bundle.manifest import FileRecord, Manifest
from modelpad.errors import BundleInvalid, ChecksumMismatch

GRAPH = "model.onnx"
AGAIN = "Push or train it again; a good copy cannot be made from a damaged one."


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its folder and its manifest."""

    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        """A listed file's path. Raises `BundleInvalid` when the manifest does not list it."""
        if name not in self.manifest.files:
            raise BundleInvalid(f"The bundle {self.folder} has no {name}.", hint=AGAIN)
        return self.folder / name

    @property
    def graph_bytes(self) -> int:
        """The size of the graph, with the weights that lie beside it."""
        files = self.manifest.files.items()
        return sum(record.bytes for name, record in files if name.startswith(GRAPH))

    def read_json(self, name: str) -> Any:
        """A listed JSON file. Raises `BundleInvalid` when it is not JSON."""
        try:
            return json.loads(self.path(name).read_bytes())
        except (OSError, ValueError) as error:
            raise BundleInvalid(f"{name} cannot be read: {error}.", hint=AGAIN) from error


def open_bundle(folder: Path, *, verify: bool = True) -> Bundle:
    """The bundle in `folder`; with `verify`, every file's size and SHA-256 are checked.

    Raises:
        BundleInvalid: no manifest, one that makes no sense, or a file missing.
        ChecksumMismatch: a file is not the one that was written; the error names it.
    """
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
            _verify_file(folder / name, name, record)
    return bundle


def _verify_file(path: Path, name: str, record: FileRecord) -> None:
    if path.is_symlink():
        raise BundleInvalid(f"{name} is a link.", hint="A bundle holds plain files only.")
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
