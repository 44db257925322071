"""`manifest.json` of a bundle."""

from __future__ import annotations

from fuzz.models import refusals
from modelpad.bundle import Manifest

DECODERS = (
    "modelpad.bundle.manifest",
    "modelpad.bundle.reader",
    "modelpad.fields.field",
    "modelpad.fields.signature",
)
PICTURE = b"P5 2 1 255 \x00\xff"


def fuzz(data: bytes) -> None:
    """What is read can be shown, and is written and read again as the same."""
    manifest = Manifest.from_json(data)
    for field in (*manifest.signature.inputs, *manifest.signature.outputs):
        field.schema()
        field.preparation()
    for field in manifest.signature.inputs:
        for value in (1, "a", [[1, 2], [3, 4]], PICTURE):
            with refusals():
                field.decode(value)
    assert Manifest.from_json(manifest.to_json()) == manifest
