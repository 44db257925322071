"""Checkpoints: folders that a recipe fills, written aside and renamed into place.

A kill at any moment leaves a whole checkpoint. Knows nothing of what the recipe writes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

STATE = "state.json"

Write = Callable[[Path], object]
"""Fills an empty folder with whatever is needed to go on."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint: its folder, and what was recorded with it."""

    folder: Path
    state: Mapping[str, object]


def write_checkpoint(folder: Path, write: Write, state: Mapping[str, object]) -> None:
    """Replaces the checkpoint at `folder` with a new one that `write` fills."""
    aside = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    write(aside)
    (aside / STATE).write_text(json.dumps(state), "utf-8")
    previous = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(previous, ignore_errors=True)
    if folder.exists():
        folder.rename(previous)
    aside.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint at `folder`; None if there is none."""
    for candidate in (folder, folder.with_name(f"{folder.name}.old")):
        try:
            state = json.loads((candidate / STATE).read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(state, dict):
            return Checkpoint(candidate, state)
    return None
