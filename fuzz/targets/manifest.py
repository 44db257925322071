"""A bundle's `manifest.json`."""

from __future__ import annotations

from fuzz.models import allow_errors
from modelpad.bundle import Manifest

DECODERS = (
    "modelpad.bundle.manifest",
    "modelpad.bundle.sequence",
    "modelpad.bundle.reader",
    "modelpad.fields.field",
    "modelpad.fields.signature",
    "modelpad.fields.steps",
)
PICTURE = b"P5 2 1 255 \x00\xff"


def fuzz(data: bytes) -> None:
    """Describes the manifest that was read, and writes and reads it again."""
    manifest = Manifest.from_json(data)
    for field in (*manifest.signature.inputs, *manifest.signature.outputs):
        field.schema()
        field.preparation()
    for field in manifest.signature.inputs:
        for value in (1, "a", [[1, 2], [3, 4]], PICTURE):
            with allow_errors():
                field.decode(value)
    assert Manifest.from_json(manifest.to_json()) == manifest
