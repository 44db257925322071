"""The folder of a video that is being painted: a plan, and the segments that are complete.

    .painted.mp4.parts/plan.json      what is painted, and how
    .painted.mp4.parts/000003.nut     frames 300 to 399

A segment is written aside and renamed into place. Whoever comes with the same plan goes on
after the last one; with another plan, the folder is emptied.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelpad.foreign_json import Json

SEGMENT_FRAMES = 100
PLAN = "plan.json"
SUFFIX = ".nut"


class Parts:
    """The segments of one video."""

    def __init__(self, folder: Path) -> None:
        """Touches nothing yet: see `open`."""
        self.folder = folder

    def open(self, plan: Mapping[str, Json]) -> None:
        """Makes the folder for this plan; segments of the same plan stay."""
        text = json.dumps(dict(plan), sort_keys=True, indent=1)
        path = self.folder / PLAN
        if path.is_file() and path.read_text("utf-8") == text:
            return
        self.remove()
        self.folder.mkdir(parents=True)
        staged = path.with_suffix(".new")
        staged.write_text(text, "utf-8")
        put_in_place(staged, path)

    def segments(self) -> list[Path]:
        """The complete segments, in order; one after a gap does not count."""
        found: list[Path] = []
        while self.path_of(len(found)).is_file():
            found.append(self.path_of(len(found)))
        return found

    def path_of(self, index: int) -> Path:
        """The file of a segment."""
        return self.folder / f"{index:06d}{SUFFIX}"

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def folder_beside(target: Path) -> Path:
    """The folder of parts for a target."""
    return target.with_name(f".{target.name}.parts")


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put_in_place(staged: Path, path: Path) -> None:
    """Renames a file, once its content is on the disk. Raises `OSError`."""
    with staged.open("rb") as file:
        os.fsync(file.fileno())
    staged.replace(path)
