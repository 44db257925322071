"""Checkpoints: folders that a recipe fills, written to a temporary name and renamed into place.

If the process is killed, a complete checkpoint remains. The content is up to the recipe.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

STATE = "state.json"

Write = Callable[[Path], object]
"""Writes everything needed to resume into an empty folder."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint: its folder, and the state recorded with it."""

    folder: Path
    state: Mapping[str, object]


def write_checkpoint(folder: Path, write: Write, state: Mapping[str, object]) -> None:
    """Replaces the checkpoint at `folder` with a new one that `write` fills."""
    staging = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    write(staging)
    (staging / STATE).write_text(json.dumps(state), "utf-8")
    previous = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(previous, ignore_errors=True)
    if folder.exists():
        folder.rename(previous)
    staging.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest complete checkpoint at `folder`, or None."""
    for candidate in (folder, folder.with_name(f"{folder.name}.old")):
        try:
            state = json.loads((candidate / STATE).read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(state, dict):
            return Checkpoint(candidate, state)
    return None
