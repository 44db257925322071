"""PyAV, which reads and writes videos with FFmpeg: its import, and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelpad.errors import MissingExtra, ModelpadError

PACKAGE, EXTRA = "av", "video"


def load_av() -> Any:
    """The module `av`, which logs nothing. Raises `MissingExtra`."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingExtra(PACKAGE, extra=EXTRA) from error
    av.logging.set_level(None)
    return av


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises `ModelpadError` if the system or FFmpeg cannot write a file."""
    try:
        yield
    except (OSError, load_av().FFmpegError) as error:
        raise ModelpadError(
            f"{path} cannot be written: {error.strerror}.",
            hint="Check permissions and free space, or choose another place.",
        ) from error
