"""Pictures as base64 text and `data:` URLs."""

from __future__ import annotations

from modelpad.fields import Sketch
from modelpad.fields.picture import read_picture

DECODERS = ("modelpad.fields.picture",)
MAX_PIXELS = 1 << 16


def fuzz(data: bytes) -> None:
    """Decodes the text."""
    text = data.decode("utf-8", "replace")
    read_picture(text, field="image", max_pixels=MAX_PIXELS)
    Sketch("image").decode(text)
