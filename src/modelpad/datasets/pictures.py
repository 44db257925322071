"""Image files as arrays, many at a time; a file that cannot be read is returned with the reason.

Decodes in a few threads (Pillow releases the interpreter lock while it decodes), keeps the order.
Independent of classes or splits.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from modelpad.fields.alpha import on_white
from modelpad.fields.colour_profile import to_srgb
from modelpad.fields.image import Image as ImageField
from modelpad.fields.picture import BROKEN, make_upright, reduce_depth

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MAX_PIXELS = 89_000_000  # just below where Pillow itself would print a warning
MAX_THREADS = 8


@dataclass(frozen=True, slots=True)
class Resize:
    """The size of every image, in pixels, and how it gets there.

    `fit` is `stretch`, or `crop`: the image is scaled in proportion until it covers the size, and
    what exceeds it is cut off around the centre. `resample` is Pillow's filter.
    """

    height: int
    width: int
    fit: Literal["stretch", "crop"] = "stretch"
    resample: str = "bilinear"

    def apply(self, picture: Image) -> Image:
        """The picture in this size, exactly as a field `Image` of a served model resizes it."""
        field = ImageField(
            height=self.height, width=self.width, fit=self.fit, resample=self.resample
        )
        return field.fit_picture(picture, self.height, self.width)

    def draft_size(self, width: int, height: int) -> tuple[int, int]:
        """The smallest (width, height) to decode a JPEG of the given size at without loss."""
        if self.fit == "stretch":
            return self.width, self.height
        scale = max(self.width / width, self.height / height)
        return math.ceil(width * scale), math.ceil(height * scale)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that cannot be read as an image, and why."""

    reason: str


def read_pictures(
    files: Sequence[Path], resize: Resize | None = None, channels: int | None = None
) -> Iterator[NDArray[np.uint8] | Unreadable]:
    """Each file in turn as uint8, (H, W) grey or (H, W, 3) RGB, or Unreadable.

    `resize` None keeps each image's own size. `channels` is 1 or 3; None keeps grey images grey and
    converts all others to RGB. At most two images per thread are decoded ahead of the caller.
    """
    from PIL import Image

    Image.init()
    # Pictures above MAX_PIXELS are refused with words of our own.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    waiting = iter(files)
    pending: deque[Future[NDArray[np.uint8] | Unreadable]] = deque()
    with ThreadPoolExecutor(max_workers=threads) as pool:
        while True:
            for path in islice(waiting, 2 * threads - len(pending)):
                pending.append(pool.submit(read_picture, path, resize, channels))
            if not pending:
                return
            yield pending.popleft().result()


def read_picture(
    path: Path, resize: Resize | None = None, channels: int | None = None
) -> NDArray[np.uint8] | Unreadable:
    """One image file as uint8, (H, W) or (H, W, 3), upright, or Unreadable; see
    `read_pictures`."""
    from PIL import Image, UnidentifiedImageError

    try:
        if path.stat().st_size == 0:
            return Unreadable("the file is empty")
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                return Unreadable(f"{width:,} x {height:,} pixels, over {MAX_PIXELS:,}")
            if resize is not None:  # JPEG: decode at 1/2, 1/4 or 1/8
                picture.draft(None, resize.draft_size(width, height))
            picture.load()
            plain = flatten_picture(to_srgb(make_upright(picture)), channels)
        return np.asarray(plain if resize is None else resize.apply(plain), np.uint8)
    except UnidentifiedImageError:
        return Unreadable("not an image")
    except Image.DecompressionBombError:
        return Unreadable(f"over {MAX_PIXELS:,} pixels")
    except BROKEN as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return Unreadable(reason or str(error).rstrip(".") or type(error).__name__)


def flatten_picture(picture: Image, channels: int | None) -> Image:
    """An image of any mode as grey ("L") or "RGB", on white where it is transparent."""
    picture = reduce_depth(picture)
    grey = picture.mode in ("L", "1", "LA", "La")
    picture = on_white(picture)
    wanted = {1: "L", 3: "RGB"}.get(channels or 0)
    if wanted is None:
        wanted = "L" if grey else "RGB"
    return picture if picture.mode == wanted else picture.convert(wanted)
