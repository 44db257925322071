"""Opens and verifies a bundle's folder."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from modelpad.bundle.external_data import find_locations
from modelpad.bundle.manifest import FileRecord, Manifest
from modelpad.errors import BundleInvalid, ChecksumMismatch
from modelpad.foreign_json import Json, load_json

GRAPH = "model.onnx"
MANIFEST = "manifest.json"
SIGNATURE_FILE = "model.sig"  # a digital signature of all other files; no file of the bundle
CARD = "card.json"
RESTORE = "The bundle is damaged. Push or train it again."
MAX_SIGNATURE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Bundle:
    """An opened bundle: its folder and its manifest.

    `graph` is the path of the graph of `manifest.signature`.
    """

    folder: Path
    manifest: Manifest
    graph: str = GRAPH

    def path(self, name: str) -> Path:
        """The path of a file in the manifest.

        Raises `BundleInvalid` if the manifest does not list it, or part of the path is a link.
        """
        if name not in self.manifest.files:
            raise BundleInvalid(f"The bundle {self.folder} has no {name}.", hint=RESTORE)
        check_regular(self.folder, name)
        return self.folder / name

    @property
    def graph_bytes(self) -> int:
        """The size of the graph, including weights in separate files, or of the native file."""
        native = self.manifest.native
        files = self.manifest.files.items()
        start = self.graph if native is None else native.file
        return sum(record.bytes for name, record in files if name.startswith(start))

    def split_signatures(self) -> dict[str, Bundle]:
        """The model's other signatures by name, each as a bundle of its own graph."""
        return {
            name: Bundle(
                self.folder,
                replace(self.manifest, signature=other.signature, samples=(), other_signatures={}),
                other.graph,
            )
            for name, other in self.manifest.other_signatures.items()
        }

    def sample_values(self, inputs: Mapping[str, Mapping[str, Json]]) -> dict[str, object]:
        """The values of a manifest's sample, which are inline or in files."""
        return {
            name: self.path(str(value["file"])).read_bytes() if "file" in value else value["value"]
            for name, value in inputs.items()
        }

    def read_json(self, name: str) -> Json:
        """The content of a JSON file in the manifest. Raises `BundleInvalid`."""
        try:
            return load_json(self.path(name).read_bytes())
        except (OSError, ValueError) as error:
            raise BundleInvalid(f"{name} cannot be read: {error}.", hint=RESTORE) from error

    def read_card(self) -> Json:
        """The content of the card; None if there is none. Raises `BundleInvalid`."""
        return self.read_json(CARD) if CARD in self.manifest.files else None


def open_bundle(folder: Path, *, verify: bool = True) -> Bundle:
    """The bundle in `folder`.

    With `verify`, every file's size and SHA-256 are checked, and that the graph stores weights only
    in files that the manifest lists. `folder` itself may be a link; nothing inside it may.

    Raises:
        BundleInvalid: the manifest is missing or invalid, a file is missing or not a regular file,
            or the graph stores weights in other files.
        ChecksumMismatch: a file has changed; the error names it.
    """
    bundle = Bundle(folder, Manifest.from_json(read_manifest(folder)))
    main = [GRAPH] if bundle.manifest.native is None else []
    if not {*main} <= {*bundle.manifest.files}:
        raise BundleInvalid(f"The bundle {folder} lists no {GRAPH}.", hint=RESTORE)
    if verify:
        for name, record in bundle.manifest.files.items():
            check_regular(folder, name)
            _verify_file(folder / name, name, record)
        for graph in (*main, *(each.graph for each in bundle.manifest.other_signatures.values())):
            _verify_locations(bundle, graph)
    return bundle


def read_manifest(folder: Path) -> bytes:
    """The content of `manifest.json`. Raises `BundleInvalid`."""
    check_regular(folder, MANIFEST)
    try:
        return (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise BundleInvalid(
            f"{folder} is not a bundle: {MANIFEST} cannot be read ({error.strerror}).",
            hint=f"Give the folder that holds {MANIFEST}.",
        ) from error


def read_signature_file(folder: Path) -> bytes | None:
    """The content of the `model.sig` of the bundle in `folder`; None if there is none.

    Raises `BundleInvalid` if it is no regular file, too large, or cannot be read.
    """
    check_regular(folder, SIGNATURE_FILE)
    try:
        with (folder / SIGNATURE_FILE).open("rb") as file:
            body = file.read(MAX_SIGNATURE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleInvalid(
            f"{SIGNATURE_FILE} cannot be read: {error.strerror}.", hint="Check its permissions."
        ) from error
    if len(body) > MAX_SIGNATURE_BYTES:
        raise BundleInvalid(f"{SIGNATURE_FILE} is too large.", hint="Sign the version again.")
    return body


def check_regular(folder: Path, name: str) -> None:
    """Raises `BundleInvalid` if any part of `name` is a link or something else irregular.

    A missing file is not an error here.
    """
    parts = PurePosixPath(name).parts
    for count in range(1, len(parts) + 1):
        path = folder.joinpath(*parts[:count])
        try:
            mode = path.lstat().st_mode
        except OSError:
            return  # reading it will raise the error
        is_expected = stat.S_ISREG if count == len(parts) else stat.S_ISDIR
        if not is_expected(mode):
            where = path.relative_to(folder).as_posix()
            kind = "a link" if stat.S_ISLNK(mode) else "not a regular file or folder"
            raise BundleInvalid(
                f"{where} is {kind}.", hint="A bundle may contain only regular files and folders."
            )


def _verify_locations(bundle: Bundle, graph: str) -> None:
    try:
        found = find_locations(bundle.folder / graph)
    except (OSError, ValueError) as error:
        raise BundleInvalid(f"{graph} is not an ONNX graph: {error}.", hint=RESTORE) from error
    folder = graph.rpartition("/")[0]
    locations = {f"{folder}/{each}" if folder else each for each in found}
    unlisted = sorted(locations - set(bundle.manifest.files))
    if unlisted:
        raise BundleInvalid(
            f"{graph} stores weights in {unlisted[0]!r}, which manifest.json does not list.",
            hint="Do not use this bundle unless you trust its author.",
            file=unlisted[0],
        )


def _verify_file(path: Path, name: str, record: FileRecord) -> None:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleInvalid(
            f"The bundle's file {name} cannot be read: {error.strerror}.", hint=RESTORE, file=name
        ) from error
    if size != record.bytes or digest != record.sha256:
        raise ChecksumMismatch(
            f"The bundle's file {name} is not the one that was written"
            f" ({size:,} bytes; {record.bytes:,} expected).",
            hint=RESTORE,
            file=name,
        )
