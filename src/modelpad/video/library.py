"""PyAV, which reads and writes videos with FFmpeg: its import, and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from modelpad.errors import MissingExtra, ModelpadError, first_line

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
def translate_errors(av: ModuleType, message: str, hint: str) -> Iterator[None]:
    """Turns an error of FFmpeg into a `ModelpadError` with its words added."""
    try:
        yield
    except av.FFmpegError as error:
        raise ModelpadError(f"{message}: {first_line(error, 200)}.", hint=hint) from error
