"""PyAV, which reads and writes videos with FFmpeg: its import, and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from modelpad.errors import MissingExtra, ModelpadError, first_line

EXTRA = "video"


def load_av() -> Any:
    """The module `av`, which logs nothing. Raises `MissingExtra`."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise MissingExtra("av", extra=EXTRA) from error
    av.logging.set_level(None)
    return av


def has_av() -> bool:
    """Whether PyAV is installed, without importing it."""
    return find_spec("av") is not None


@contextmanager
def translate_errors(av: ModuleType, message: str, hint: str) -> Iterator[None]:
    """Turns an error of FFmpeg into a `ModelpadError` with its words added."""
    try:
        yield
    except av.FFmpegError as error:
        raise ModelpadError(f"{message}: {first_line(error, 200)}.", hint=hint) from error
