"""The JSON file of handwritten digits as pen strokes, with and without gzip."""

from __future__ import annotations

from fuzz.files import make_folder
from modelpad.datasets.pen_digits import FILE_NAME, load_pen_strokes

DECODERS = ("modelpad.datasets.pen_digits",)
ROOT = make_folder()
(ROOT / "pen-digits").mkdir()


def fuzz(data: bytes) -> None:
    """Loads the file."""
    (ROOT / "pen-digits" / FILE_NAME).write_bytes(data)
    load_pen_strokes([ROOT])
