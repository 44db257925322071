"""TensorFlow's model files: SavedModel folders and `.tflite` files, one signature at a time."""

from __future__ import annotations

from pathlib import Path

from modelpad.convert.saved_model import SavedModelSource, open_saved_model, read_signatures
from modelpad.convert.signatures import SignatureSpec
from modelpad.convert.source import ImportRequest
from modelpad.convert.tflite import LiteFile, LiteSource


def open_tensorflow(path: Path, request: ImportRequest) -> SavedModelSource | LiteSource:
    """The signature `request.signature` of the SavedModel folder or `.tflite` file at `path`.

    The default is `serving_default`, else the only one.

    Raises:
        NotTrusted: a SavedModel contains operations that do more than compute, or links, and
            `request.trust` is not set.
        ConversionFailed: it cannot be read, or the signature cannot be imported.
        UsageError: there is no such signature, or there are several and none is the default.
    """
    return open_signature(path, request.signature, trust=request.trust)


def open_signature(
    path: Path, name: str | None = None, *, trust: bool = False
) -> SavedModelSource | LiteSource:
    """One signature, ready to be run and exported. Raises like `open_tensorflow`."""
    if path.is_dir():
        return open_saved_model(path, name, trust=trust)
    return LiteSource(LiteFile(path), name)


def list_signatures(path: Path) -> dict[str, SignatureSpec]:
    """All signatures by name, without running any of them.

    A `.tflite` file without signatures has one named `serving_default`. Raises `ConversionFailed`
    if the file cannot be read.
    """
    return read_signatures(path) if path.is_dir() else dict(LiteFile(path).signatures)
