"""Where feedback is stored."""

from __future__ import annotations

from pathlib import Path

from modelpad.errors import UsageError

SCHEME = "sqlite:"
FILE = "feedback.sqlite"


def locate_feedback(given: str) -> Path:
    """The SQLite file of `DIR` (`DIR/feedback.sqlite`) or of `sqlite:PATH`. Raises `UsageError`."""
    path = given.removeprefix(SCHEME)
    if not path.strip() or "\0" in path or "://" in path:
        raise UsageError(
            f"{given!r} is no place for feedback.",
            hint="Give a folder, or sqlite:PATH for a file of your own choice.",
        )
    return Path(path) if given.startswith(SCHEME) else Path(path) / FILE
