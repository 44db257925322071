"""Animated GIF and WebP pictures: their frames one by one, and files of painted frames.

A frame is the whole picture as it is shown: how a file combines frames with those before is its own
business.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from modelpad.errors import TooLarge
from modelpad.fields.alpha import read_transparent
from modelpad.fields.colour_profile import to_srgb
from modelpad.fields.file_bytes import read_bytes
from modelpad.fields.picture import (
    BROKEN,
    PICTURE,
    describe_damage,
    make_upright,
    open_picture,
)
from modelpad.fields.picture_format import (
    WEBP_METHOD,
    PictureFormat,
    reduce_colours,
    to_picture,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

    from modelpad.fields.signature import Signature

MAX_FRAMES = 500
MAX_TOTAL_PIXELS = 40_000_000  # of all frames: 150 of 512 x 512
FRAME_BYTES = 4  # for each pixel of a painted frame, until the file is written
SIGNS = (b"GIF8", b"RIFF")  # how files begin that may be animated
GIF_TICK_MS = 10
MIN_GIF_TICKS = 2  # browsers show anything shorter for ten
RESTORE = 2  # GIF's disposal: the next frame begins with nothing


class Timing(msgspec.Struct, frozen=True):
    """How long each frame is shown, and how often all of them; `plays` of 0 is without end."""

    durations_ms: tuple[int, ...]
    plays: int = 0


class Animation(msgspec.Struct, frozen=True):
    """An animated picture whose frames are all readable; `size` is that before they are turned."""

    body: bytes
    field: str
    size: tuple[int, int]
    timing: Timing
    is_transparent: bool

    def __len__(self) -> int:
        return len(self.timing.durations_ms)

    @property
    def held_bytes(self) -> int:
        """The memory of all frames, painted."""
        return len(self) * self.size[0] * self.size[1] * FRAME_BYTES

    def frames(self) -> Iterator[Picture]:
        """The frames, upright and in sRGB: all RGBA, or all RGB if nothing is transparent."""
        picture = open_picture(self.body, field=self.field)
        for number in range(len(self)):
            picture.seek(number)
            yield self._finish(picture)

    def _finish(self, picture: Picture) -> Picture:
        width, height = self.size
        frame = picture.convert("RGBA" if self.is_transparent else "RGB")
        if picture.size != self.size:  # a GIF's frame beyond its canvas
            frame = frame.crop((0, 0, width, height))
        return to_srgb(make_upright(frame))


def read_animation(value: object, *, field: str) -> Animation | None:
    """The animation in `value` (bytes, base64 or a `data:` URL); None if it is a still picture.

    All frames are decoded once, so that a broken one is found before any is painted.

    Raises:
        InvalidInput: it is not a complete picture.
        TooLarge: it has more than `MAX_FRAMES` frames, or `MAX_TOTAL_PIXELS` pixels in all of them.
    """
    if isinstance(value, list):
        return None
    body = read_bytes(value, PICTURE, field=field)
    if not body.startswith(SIGNS):
        return None
    picture: Any = open_picture(body, field=field)
    try:
        if not getattr(picture, "is_animated", False):
            return None
        return _measure(picture, body, field)
    except BROKEN as error:
        raise describe_damage(error, body, field) from error


def find_animation(
    signature: Signature, values: Mapping[str, object], form: PictureFormat
) -> Animation | None:
    """The animation among the values of a model that paints, if the output's format animates too.

    Raises as `read_animation`.
    """
    field = signature.repainted
    if field is None or not form.animates or field.name not in values:
        return None
    return read_animation(values[field.name], field=field.name)


def _measure(picture: Any, body: bytes, field: str) -> Animation:
    """The animation in an open file."""
    size, durations, pixels, transparent = picture.size, list[int](), 0, False
    while True:
        try:
            picture.seek(len(durations))
        except EOFError:
            break
        pixels += max(picture.width * picture.height, size[0] * size[1])
        _check_limits(field, len(durations) + 1, pixels)
        picture.load()
        durations.append(round(picture.info.get("duration", 0)))
        transparent = transparent or read_transparent(picture, field=field) is not None
    loop = picture.info.get("loop")
    if picture.format == "GIF":  # which counts how often it is repeated
        loop = 1 if loop is None else loop + 1 if loop else 0
    return Animation(body, field, size, Timing(tuple(durations), loop), transparent)


def _check_limits(field: str, frames: int, pixels: int) -> None:
    if frames > MAX_FRAMES:
        raise TooLarge(
            f"The animation in {field!r} has more than {MAX_FRAMES:,} frames.",
            hint="Send a shorter one.",
            field=field,
            limit=MAX_FRAMES,
        )
    if pixels > MAX_TOTAL_PIXELS:
        raise TooLarge(
            f"The frames of the animation in {field!r} have more than {MAX_TOTAL_PIXELS:,} pixels"
            " together.",
            hint="Send a smaller or shorter one.",
            field=field,
            limit=MAX_TOTAL_PIXELS,
        )


class AnimationWriter:
    """Collects painted frames, and writes them to one file."""

    def __init__(self, form: PictureFormat, timing: Timing) -> None:
        """`form` is one that `animates`."""
        self._form = form
        self._timing = timing
        self._frames: list[Picture] = []
        self._pixels = 0
        self._transparent = False

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Adds the next frame: pixels (height, width, channels), the last of 2 or 4 being alpha.

        Raises:
            InvalidInput: the format has no pictures of this size.
            TooLarge: the frames have more than `MAX_TOTAL_PIXELS`.
        """
        frame = to_picture(pixels)
        self._form.check_size(frame.size)
        self._pixels += frame.width * frame.height
        if self._pixels > MAX_TOTAL_PIXELS:  # of a model that enlarges pictures
            raise TooLarge(
                f"The painted frames have more than {MAX_TOTAL_PIXELS:,} pixels together.",
                hint="Send a smaller or shorter animation.",
                limit=MAX_TOTAL_PIXELS,
            )
        self._transparent = self._transparent or frame.mode in ("LA", "RGBA")
        self._frames.append(reduce_colours(frame) if self._form.name == "gif" else frame)

    def write(self) -> bytes:
        """The file."""
        options = self._gif_options() if self._form.name == "gif" else self._webp_options()
        file = io.BytesIO()
        first, *others = self._frames
        first.save(file, self._form.name.upper(), save_all=True, append_images=others, **options)
        return file.getvalue()

    def _webp_options(self) -> dict[str, Any]:
        return {
            "duration": [*self._timing.durations_ms],
            "loop": self._timing.plays,
            "quality": self._form.quality,
            "method": WEBP_METHOD,
        }

    def _gif_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"duration": round_durations(self._timing.durations_ms)}
        if self._timing.plays != 1:
            options["loop"] = max(0, self._timing.plays - 1)
        if self._transparent:
            options["disposal"] = RESTORE
        return options


def round_durations(durations_ms: tuple[int, ...]) -> list[int]:
    """The durations in GIF's ticks; each makes up for the rounding of those before."""
    rounded, end_ms, written_ms = [], 0, 0
    for duration_ms in durations_ms:
        end_ms += duration_ms
        ticks = round((end_ms - written_ms) / GIF_TICK_MS)
        rounded.append(max(ticks, MIN_GIF_TICKS if duration_ms else 0) * GIF_TICK_MS)
        written_ms += rounded[-1]
    return rounded
