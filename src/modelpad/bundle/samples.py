"""The inputs of samples: images become files, everything else stays in the manifest."""

from __future__ import annotations

from pathlib import Path

from modelpad.foreign_json import Json

PNG = b"\x89PNG"


def add_input(number: int, value: bytes | Json, files: dict[str, bytes | Path]) -> dict[str, Json]:
    """An input of sample `number` as the manifest holds it; an image file is added to `files`."""
    if not isinstance(value, bytes):
        return {"value": value}
    path = f"samples/{number}.{'png' if value.startswith(PNG) else 'jpg'}"
    files[path] = value
    return {"file": path}
