"""The inputs of samples: images become files, everything else stays in the manifest."""

from __future__ import annotations

from pathlib import Path

from modelpad.foreign_json import Json

PNG = b"\x89PNG"


def add_input(number: int, value: bytes | Json, files: dict[str, bytes | Path]) -> dict[str, Json]:
    """An input of sample `number` as the manifest holds it; an image file is added to `files`."""
    if not isinstance(value, bytes):
        return {"value": value}
    suffix = "png" if value.startswith(PNG) else "jpg"
    path, count = f"samples/{number}.{suffix}", 1
    while path in files:  # a model with several image inputs
        count += 1
        path = f"samples/{number}-{count}.{suffix}"
    files[path] = value
    return {"file": path}
