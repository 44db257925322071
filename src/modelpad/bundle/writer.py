"""Writes a bundle into a staging folder, then renames it into place atomically."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from modelpad.bundle.locks import claim_folder, remove_abandoned
from modelpad.bundle.manifest import FileRecord, Manifest, check_path
from modelpad.bundle.reader import (
    GRAPH,
    MANIFEST,
    SIGNATURE_FILE,
    Bundle,
    open_bundle,
    read_manifest,
    read_signature_file,
)
from modelpad.errors import BundleInvalid, StoreError

STAGING = ".staging-"


def write_bundle(
    folder: Path,
    manifest: Manifest,
    files: Mapping[str, bytes | Path],
    original: Bundle | None = None,
) -> Bundle:
    """Writes `files` (content, or a path to copy) and the manifest to a new folder.

    Checksums are computed here. If anything fails, nothing is left behind. A copy that is the same
    as `original` gets its signature.

    Raises:
        BundleInvalid: `model.onnx` or the native file is missing, or a file name points outside
            the folder.
        StoreError: the folder exists or cannot be written.
    """
    with stage_bundle(folder.parent, manifest, files, original) as staged:
        try:
            staged.rename(folder)
        except OSError as error:
            raise StoreError(
                f"The bundle cannot be written to {folder}: {error.strerror}.",
                hint="Choose a folder that does not exist yet.",
            ) from error
    sync_folder(folder.parent)
    return open_bundle(folder, verify=False)


@contextmanager
def stage_bundle(
    parent: Path,
    manifest: Manifest,
    files: Mapping[str, bytes | Path],
    original: Bundle | None = None,
) -> Iterator[Path]:
    """A complete bundle, synced to disk, in a hidden folder of `parent`, for the caller to rename.

    Unless renamed, it is removed on exit. Staging folders of killed processes in `parent` are
    removed too. Raises like `write_bundle`.
    """
    needed = GRAPH if manifest.native is None else manifest.native.file
    if needed not in files:
        raise BundleInvalid(f"The bundle needs {needed}.", hint="Export the model to ONNX first.")
    with ExitStack() as stack:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(parent, STAGING)
            staged = stack.enter_context(claim_folder(parent, STAGING))
            records = {name: _write_file(staged, name, files[name]) for name in sorted(files)}
            created = manifest.created or datetime.now(UTC).isoformat(timespec="seconds")
            complete = replace(manifest, files=records, created=created)
            copied = copy_documents(original, complete)
            for name, body in ({MANIFEST: complete.to_json()} | copied).items():
                _write_synced(staged / name, body)
            for folder in [staged, *(path for path in staged.rglob("*") if path.is_dir())]:
                sync_folder(folder)
        except OSError as error:
            raise StoreError(
                f"{parent} cannot be written: {error.strerror}.",
                hint="Check permissions and free space, or choose another folder: --store DIR.",
            ) from error
        yield staged


def copy_documents(original: Bundle | None, manifest: Manifest) -> dict[str, bytes]:
    """What a copy of a bundle with this manifest takes over byte for byte.

    That is the manifest as another version of modelpad may have written it, and its signature;
    nothing if the copy differs, as by its name. Raises `BundleInvalid`.
    """
    if original is None or original.manifest != manifest:
        return {}
    body, signature = read_manifest(original.folder), read_signature_file(original.folder)
    if Manifest.from_json(body) != manifest:  # changed in memory, or on disk since
        return {}
    return {MANIFEST: body} | ({} if signature is None else {SIGNATURE_FILE: signature})


def sync_folder(folder: Path) -> None:
    """Flushes the folder's entries to disk, so that they survive a power cut (POSIX only)."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_file(staged: Path, name: str, content: bytes | Path) -> FileRecord:
    check_path(name)
    body = content.read_bytes() if isinstance(content, Path) else content
    path = staged / name
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_synced(path, body)
    return FileRecord(hashlib.sha256(body).hexdigest(), len(body))


def _write_synced(path: Path, body: bytes) -> None:
    with path.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
