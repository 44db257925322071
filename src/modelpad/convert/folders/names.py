"""Model names made of file names and of names in other tools."""

from __future__ import annotations

import re
from pathlib import Path

from modelpad.bundle.manifest import NAME

MAX_LENGTH = 128
# File names that tools give to any model: the folder's name says more.
GENERIC = re.compile(r"(saved_)?model|export|weights|best|last|final|checkpoint|\d+", re.IGNORECASE)


def valid_name(name: str) -> str:
    """`name` itself if it is valid, else one made from it: `my model (1)` becomes `my-model-1`."""
    if NAME.fullmatch(name):
        return name
    made = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")
    return made[:MAX_LENGTH] or "model"


def stem_of(path: Path) -> str:
    """The name without its suffix. A numbered folder is a version, so its parent has the name."""
    if not path.is_dir() or path.suffix == ".savedmodel":
        return path.stem
    return path.parent.name if path.name.isdecimal() else path.name
