"""The file formats of pictures in responses: PNG, JPEG, WebP and GIF.

A file has pixels alone: no metadata of any input.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import msgspec

from modelpad.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

NAMES = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "gif": "GIF"}
MEDIA_TYPES = {name: f"image/{name}" for name in NAMES}
SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif"}
QUALITY = 90
PNG_LEVEL = 1  # of zlib: a third of the time of its default, for files a tenth larger
WEBP_METHOD = 1
MAX_SIDES = {"jpeg": 65_500, "webp": 16_383, "gif": 65_535}
GIF_COLOURS = 256
GIF_CLEAR = 255  # the palette's transparent colour


class PictureFormat(msgspec.Struct, frozen=True):
    """A file format, and for JPEG and WebP its quality, 1..100."""

    name: str = "png"
    quality: int = QUALITY

    def __post_init__(self) -> None:
        if self.name not in MEDIA_TYPES or not 1 <= self.quality <= 100:
            raise ValueError(f"unknown format or quality: {self.name!r:.20}, {self.quality}")

    @property
    def media_type(self) -> str:
        """For example `image/jpeg`."""
        return MEDIA_TYPES[self.name]

    @property
    def animates(self) -> bool:
        """Whether a file can have many frames."""
        return self.name in ("gif", "webp")

    def encode(self, pixels: NDArray[np.uint8]) -> bytes:
        """The file of pixels (height, width, channels), the last of 2 or 4 channels being alpha.

        JPEG shows them on white, GIF in 256 colours. Raises `InvalidInput` for a side too long.
        """
        picture = to_picture(pixels)
        self.check_size(picture.size)
        options: dict[str, int] = {}
        if self.name == "png":
            options = {"compress_level": PNG_LEVEL}
        elif self.name == "jpeg":
            from modelpad.fields.alpha import on_white

            picture, options = on_white(picture), {"quality": self.quality}
        elif self.name == "webp":
            options = {"quality": self.quality, "method": WEBP_METHOD}
        else:
            picture = reduce_colours(picture)
        file = io.BytesIO()
        picture.save(file, self.name.upper(), **options)
        return file.getvalue()

    def check_size(self, size: tuple[int, int]) -> None:
        """Raises `InvalidInput` for a (width, height) that the format does not have."""
        limit = MAX_SIDES.get(self.name)
        if limit is not None and max(size) > limit:
            raise InvalidInput(
                f"A {NAMES[self.name]} file has at most {limit:,} pixels in a row or column.",
                hint="Ask for PNG.",
                expected="PNG",
                got=f"{size[0]} x {size[1]}",
            )


def to_picture(pixels: NDArray[np.uint8]) -> Picture:
    """Pixels (height, width, 1 to 4 channels) as grey or RGB, with or without alpha."""
    from PIL import Image

    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def reduce_colours(picture: Picture) -> Picture:
    """A picture with a palette of its own; what is half transparent or more is so altogether."""
    if not picture.has_transparency_data:
        return picture.quantize(GIF_COLOURS)
    alpha = picture.getchannel("A")
    reduced = picture.convert("RGB").quantize(GIF_COLOURS - 1)
    reduced.paste(GIF_CLEAR, mask=alpha.point(lambda value: 255 * (value < 128)))
    reduced.info["transparency"] = GIF_CLEAR
    return reduced


def read_quality(text: str) -> int:
    """The quality in a query parameter. Raises `InvalidInput`."""
    if text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= 100:
        return int(text)
    raise InvalidInput(
        f"quality is {text[:20]!r}.", hint="Give 1 to 100.", expected="1 to 100", got=text[:20]
    )


def name_format(text: str) -> str:
    """`png`, `jpeg` (also `jpg`), `webp` or `gif`. Raises `InvalidInput` for any other format."""
    name = SUFFIXES.get(f".{text.lower()}")
    if name is None:
        known = ", ".join(MEDIA_TYPES)
        raise InvalidInput(
            f"Pictures cannot be written as {text[:20]!r}.",
            hint=f"Use one of {known}.",
            expected=known,
            got=text[:20],
        )
    return name


def negotiate(accept: str) -> str | None:
    """The format that an `Accept` header prefers; PNG for any picture, None for none of them.

    The order of equal weights is the client's. `*/*` and JSON before pictures mean none.
    """
    found = []
    for number, part in enumerate(accept.lower().split(",")):
        kind, *parameters = (each.strip() for each in part.split(";"))
        weight = 1.0
        for each in parameters:
            if each.startswith("q="):
                try:
                    weight = float(each[2:])
                except ValueError:
                    weight = 0.0
        if weight > 0:
            found.append((-weight, number, kind))
    names = {media: name for name, media in MEDIA_TYPES.items()} | {"image/*": "png"}
    for _, _, kind in sorted(found):
        if kind in names:
            return names[kind]
        if kind in ("application/json", "*/*"):
            return None
    return None
