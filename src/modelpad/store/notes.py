"""Notes of this machine about a version, in files beside it: why it failed, where its data is."""

from __future__ import annotations

from pathlib import Path

from modelpad.store.staging import replace_file

FAILED, DATA = "failed", "data"


def write_note(folder: Path, version: int, kind: str, content: bytes) -> None:
    """Replaces a note in a model's folder atomically. Raises `OSError`."""
    replace_file(folder, _name_note(version, kind), content)


def read_note(folder: Path, version: int, kind: str) -> bytes | None:
    """A note's content; None if there is none, or it cannot be read."""
    try:
        return (folder / _name_note(version, kind)).read_bytes()
    except OSError:
        return None


def remove_notes(folder: Path, version: int, *kinds: str) -> None:
    """Removes the notes of these kinds. Raises `OSError`."""
    for kind in kinds:
        (folder / _name_note(version, kind)).unlink(missing_ok=True)


def _name_note(version: int, kind: str) -> str:
    return f".{kind}-{version}"
