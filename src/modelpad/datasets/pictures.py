"""Picture files as arrays, many at once; what cannot be read comes back with its reason.

Decodes in a few threads (Pillow lets go of the interpreter while it decodes) and keeps the order.
Knows nothing of classes or splits.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MAX_PIXELS = 100_000_000
BATCH_FILES = 256


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is no readable picture, and why."""

    reason: str


def read_pictures(
    files: Sequence[Path], size: tuple[int, int] | None = None, channels: int | None = None
) -> Iterator[NDArray[np.uint8] | Unreadable]:
    """Each file in turn as uint8, (H, W) grey or (H, W, 3) RGB, or Unreadable.

    `size` is (height, width) to resize to, smoothly; None keeps each picture's own. `channels` is 1
    or 3; None keeps grey pictures grey and makes RGB of all others.
    """
    from PIL import Image

    Image.init()
    waiting = iter(files)
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool,
    ):
        # A picture over Pillow's own limit warns; ours is stated in `read_picture`.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        while batch := list(islice(waiting, BATCH_FILES)):
            yield from pool.map(lambda path: read_picture(path, size, channels), batch)


def read_picture(
    path: Path, size: tuple[int, int] | None = None, channels: int | None = None
) -> NDArray[np.uint8] | Unreadable:
    """One picture file as uint8, (H, W) or (H, W, 3), upright, or Unreadable. See above."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        if path.stat().st_size == 0:
            return Unreadable("the file is empty")
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                return Unreadable(f"{width:,} x {height:,} pixels, over {MAX_PIXELS:,}")
            if size is not None:
                picture.draft(None, (size[1], size[0]))  # JPEG: decode at 1/2, 1/4 or 1/8
            plain = flatten_picture(ImageOps.exif_transpose(picture), channels)
        if size is not None and (plain.height, plain.width) != size:
            plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(plain, np.uint8)
    except UnidentifiedImageError:
        return Unreadable("not a picture")
    except Image.DecompressionBombError:
        return Unreadable(f"over {MAX_PIXELS:,} pixels")
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        return Unreadable(str(error).rstrip(".") or type(error).__name__)


def flatten_picture(picture: Image, channels: int | None) -> Image:
    """A picture of any mode as grey ("L") or "RGB" on white paper where it is transparent."""
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it holds NaN or infinity")
        scale = 255 / 65_535 if values.max(initial=0) > 255 else 1.0
        picture = Image.fromarray(np.clip(values * scale, 0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        grey = picture.mode in ("LA", "La")
        drawn = picture.convert("RGBA")
        paper = Image.new("RGBA", drawn.size, "white")
        picture = Image.alpha_composite(paper, drawn).convert("L" if grey else "RGB")
    wanted = {1: "L", 3: "RGB"}.get(channels or 0)
    if wanted is None:
        wanted = "L" if picture.mode in ("L", "1", "LA") else "RGB"
    return picture if picture.mode == wanted else picture.convert(wanted)
