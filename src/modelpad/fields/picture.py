"""Reads pictures from bytes, base64 or a `data:` URL.

Anything that is not a picture, or has more pixels than allowed, is rejected before its pixels are
decoded.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields.file_bytes import FileKind, describe_bytes, read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_PIXELS = 25_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
EXPECTED = "a PNG, JPEG, WebP, GIF, BMP or TIFF picture, as bytes, base64 or a data: URL"
PICTURE = FileKind("picture", "image/png", EXPECTED)


def read_picture(value: object, *, field: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in `value` (bytes, base64 or a `data:` URL), upright and fully loaded.

    A Pillow image is returned as it is.

    Raises:
        InvalidInput: it is not a complete picture of a supported format.
        TooLarge: it has more than `max_pixels` pixels.
    """
    from PIL import Image, ImageOps

    if isinstance(value, Image.Image):
        return value
    body = read_bytes(value, PICTURE, field=field)
    try:
        picture: Picture = Image.open(io.BytesIO(body), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise TooLarge(
            f"The picture in {field!r} has too many pixels: {error}.",
            hint="Send a smaller one.",
            limit=max_pixels,
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidInput(
            f"The value of {field!r} is not a picture in a supported format.",
            hint="Send a PNG or JPEG file.",
            field=field,
            expected=EXPECTED,
            got=describe_bytes(body),
        ) from error
    width, height = picture.size
    if width * height > max_pixels:
        raise TooLarge(
            f"The picture in {field!r} has {width} x {height} pixels;"
            f" at most {max_pixels:,} are allowed.",
            hint="Send a smaller one.",
            limit=max_pixels,
            got=width * height,
        )
    try:
        picture.load()
        if picture.format in ("JPEG", "TIFF", "WEBP"):
            picture = ImageOps.exif_transpose(picture)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InvalidInput(
            f"The picture in {field!r} is truncated or corrupt: {error}.",
            hint="Send the complete file.",
            field=field,
            expected=EXPECTED,
            got=f"{len(body)} bytes that end too early",
        ) from error
    if picture.mode == "F":
        _check_finite(picture, field)
    return picture


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
