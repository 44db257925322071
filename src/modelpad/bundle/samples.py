"""The inputs of samples: images and sounds become files, the rest stays in the manifest."""

from __future__ import annotations

from pathlib import Path

from modelpad.fields.sound import is_wav
from modelpad.foreign_json import Json

PNG = b"\x89PNG"


def add_input(number: int, value: bytes | Json, files: dict[str, bytes | Path]) -> dict[str, Json]:
    """An input of sample `number` as the manifest holds it; a file is added to `files`."""
    if not isinstance(value, bytes):
        return {"value": value}
    suffix = "wav" if is_wav(value) else "png" if value.startswith(PNG) else "jpg"
    path, count = f"samples/{number}.{suffix}", 1
    while path in files:  # a model with several such inputs
        count += 1
        path = f"samples/{number}-{count}.{suffix}"
    files[path] = value
    return {"file": path}
