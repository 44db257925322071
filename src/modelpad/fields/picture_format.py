"""The file formats of pictures in responses: PNG, JPEG and WebP.

A file has pixels alone: no metadata of any input.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelpad.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
QUALITY = 90
PNG_LEVEL = 1  # of zlib: a third of the time of its default, for files a tenth larger
WEBP_METHOD = 1
MAX_WEBP_SIDE = 16_383


@dataclass(frozen=True, slots=True)
class PictureFormat:
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

    def encode(self, pixels: NDArray[np.uint8]) -> bytes:
        """The file of pixels (height, width, 1 or 3). Raises `InvalidInput` for a side too long."""
        from PIL import Image

        picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        if self.name == "webp" and max(picture.size) > MAX_WEBP_SIDE:
            raise InvalidInput(
                f"A WebP file has at most {MAX_WEBP_SIDE:,} pixels in a row or column.",
                hint="Ask for PNG or JPEG.",
                expected="PNG or JPEG",
                got=f"{picture.width} x {picture.height}",
            )
        options: Mapping[str, int | bool] = {
            "png": {"compress_level": PNG_LEVEL},
            "jpeg": {"quality": self.quality},
            "webp": {"quality": self.quality, "method": WEBP_METHOD},
        }[self.name]
        file = io.BytesIO()
        picture.save(file, self.name.upper(), **options)
        return file.getvalue()


def read_quality(text: str) -> int:
    """The quality in a query parameter. Raises `InvalidInput`."""
    if text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= 100:
        return int(text)
    raise InvalidInput(
        f"quality is {text[:20]!r}.", hint="Give 1 to 100.", expected="1 to 100", got=text[:20]
    )


def name_format(text: str) -> str:
    """`png`, `jpeg` (also `jpg`) or `webp`. Raises `InvalidInput` for any other format."""
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
