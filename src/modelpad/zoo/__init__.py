"""The models that ship with modelpad, each a bundle in a folder of its own."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def zoo_bundles() -> dict[str, Path]:
    """The bundles' folders, by name."""
    return {path.parent.name: path.parent for path in sorted(FOLDER.glob("*/manifest.json"))}
