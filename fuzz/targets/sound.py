"""WAV files, as sound of any length and of a fixed one."""

from __future__ import annotations

from contextlib import suppress

from modelpad.errors import ModelpadError
from modelpad.fields import Audio

DECODERS = ("modelpad.fields.sound", "modelpad.fields.audio", "modelpad.fields.file_bytes")
FIELDS = (Audio("a", 8_000), Audio("b", 16_000, 400))


def fuzz(data: bytes) -> None:
    """Decodes the file with every field."""
    for field in FIELDS:
        with suppress(ModelpadError):
            field.decode(data)
