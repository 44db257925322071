"""Reads pictures from bytes, base64 or a `data:` URL.

Anything that is not a picture, or has more pixels than allowed, is rejected before its pixels are
decoded.
"""

from __future__ import annotations

import io
import struct
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields.colour_profile import to_srgb
from modelpad.fields.file_bytes import FileKind, describe_bytes, read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_PIXELS = 25_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
# What Pillow raises for files that are not as they should be.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error)
ORIENTATION = 0x0112  # of EXIF
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
EXPECTED = "a PNG, JPEG, WebP, GIF, BMP or TIFF picture, as bytes, base64 or a data: URL"
PICTURE = FileKind("picture", "image/png", EXPECTED)


def read_picture(value: object, *, field: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in `value` (bytes, base64 or a `data:` URL), upright, in sRGB and fully loaded.

    A Pillow image is returned as it is.

    Raises:
        InvalidInput: it is not a complete picture of a supported format.
        TooLarge: it has more than `max_pixels` pixels.
    """
    from PIL import Image

    if isinstance(value, Image.Image):
        return value
    body = read_bytes(value, PICTURE, field=field)
    picture = open_picture(body, field=field, max_pixels=max_pixels)
    try:
        picture.load()
        picture = make_upright(picture)
    except BROKEN as error:
        raise describe_damage(error, body, field) from error
    if picture.mode == "F":
        _check_finite(picture, field)
    return to_srgb(picture)


def open_picture(body: bytes, *, field: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """A picture's file whose pixels are not decoded yet. Raises as `read_picture`."""
    pillow = _load_pillow()
    try:
        picture: Picture = pillow.open(io.BytesIO(body), formats=FORMATS)
    except pillow.DecompressionBombError as error:
        raise _too_many_pixels(field, max_pixels) from error
    except BROKEN as error:
        raise InvalidInput(
            f"The value of {field!r} is not a picture in a supported format.",
            hint="Send a PNG or JPEG file.",
            field=field,
            expected=EXPECTED,
            got=describe_bytes(body),
        ) from error
    if picture.width * picture.height > max_pixels:
        raise _too_many_pixels(field, max_pixels, picture.size)
    return picture


def make_upright(picture: Picture) -> Picture:
    """A loaded picture, turned as its EXIF says; EXIF that cannot be read says nothing."""
    from PIL import Image

    try:
        name = TURNS.get(picture.getexif().get(ORIENTATION, 1))
    except BROKEN:
        return picture
    return picture if name is None else picture.transpose(Image.Transpose[name])


def describe_damage(error: Exception, body: bytes, field: str) -> InvalidInput:
    """The error of a file that is not complete."""
    return InvalidInput(
        f"The picture in {field!r} is truncated or corrupt: {error}.",
        hint="Send the complete file.",
        field=field,
        expected=EXPECTED,
        got=f"{len(body)} bytes that end too early",
    )


def reduce_depth(picture: Picture) -> Picture:
    """A picture of more than 8 bits in 8 of them; what exceeds 255 is taken for 16 bits.

    Raises `ValueError` if it contains NaN or infinity.
    """
    import numpy as np
    from PIL import Image

    if not (picture.mode.startswith("I") or picture.mode == "F"):
        return picture
    values = np.asarray(picture, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinity")
    scale = 255 / 65_535 if values.max(initial=0) > 255 else 1.0
    return Image.fromarray(np.clip(values * scale, 0, 255).astype(np.uint8))


@cache
def _load_pillow() -> ModuleType:
    """Pillow, without its warning of large pictures: they have an error of their own."""
    import warnings

    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    return Image


def _too_many_pixels(field: str, limit: int, size: tuple[int, int] | None = None) -> TooLarge:
    """The error of a picture whose size is known, or too large for Pillow to tell."""
    pixels = f"{size[0]:,} x {size[1]:,} pixels" if size else "too many pixels"
    return TooLarge(
        f"The picture in {field!r} has {pixels}; at most {limit:,} are allowed.",
        hint="Send a smaller one.",
        field=field,
        limit=limit,
        **({"got": size[0] * size[1]} if size else {}),
    )


def _check_finite(picture: Picture, field: str) -> None:
    import numpy as np

    if not np.isfinite(np.asarray(picture)).all():
        raise InvalidInput(
            f"The picture in {field!r} contains NaN or infinity.",
            hint="Send finite pixel values.",
            field=field,
            expected=EXPECTED,
            got="NaN or infinity",
        )
