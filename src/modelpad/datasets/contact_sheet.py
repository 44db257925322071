"""One PNG that shows what is in a data set: a row a class, with its name and how many there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.dataset import DataSet
from modelpad.errors import ModelpadError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

SMALLEST_CELL = 56
LARGEST_CELL = 112
GAP = 6
MARGIN = 16
MAX_ROWS = 100
NAME_LETTERS = 28
FONT_PX = 15
PAPER, INK, FAINT = "#ffffff", "#1d1f23", "#70757d"


def contact_sheet(data: DataSet, path: Path, per_class: int = 10) -> Path:
    """Writes a PNG with up to `per_class` train pictures of each class to `path`, and returns it.

    Samples are spread evenly over each class. The first 100 classes are shown. Raises ModelpadError
    when the file cannot be written.
    """
    sheet = draw_sheet(data, per_class)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, format="PNG", optimize=True)
    except OSError as error:
        raise ModelpadError(
            f"The contact sheet cannot be written to {path}: {error.strerror or error}.",
            hint="Name another file with --sheet PATH.",
            path=str(path),
        ) from error
    return path


def draw_sheet(data: DataSet, per_class: int) -> Image:
    """The contact sheet as an RGB picture."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(FONT_PX)
    shown = data.classes[:MAX_ROWS]
    counts = data.count_classes(data.train)
    names = [(shorten(name), f"{counts[name]:,}") for name in shown]
    label_width = max(measure(font, text) for pair in names for text in pair) + MARGIN
    cell_width, cell_height = fit_cell(data.train.shape)
    rest = len(data.classes) - len(shown)
    sheet = Image.new(
        "RGB",
        (
            2 * MARGIN + label_width + per_class * (cell_width + GAP) - GAP,
            2 * MARGIN + len(shown) * (cell_height + GAP) - GAP + (FONT_PX + GAP) * bool(rest),
        ),
        PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for row, (name, count) in enumerate(names):
        top = MARGIN + row * (cell_height + GAP)
        middle = top + cell_height // 2
        draw.text((MARGIN, middle - 1), name, INK, font, anchor="ls")
        draw.text((MARGIN, middle + 2), count, FAINT, font, anchor="la")
        for column, image in enumerate(sample_class(data, row, per_class)):
            cell = resize_cell(image, (cell_width, cell_height))
            sheet.paste(cell, (MARGIN + label_width + column * (cell_width + GAP), top))
    if rest:
        draw.text((MARGIN, sheet.height - MARGIN), f"and {rest:,} more classes", FAINT, font, "ls")
    return sheet


def sample_class(data: DataSet, label: int, count: int) -> NDArray[np.uint8]:
    """Up to `count` train pictures of a class, spread evenly over it: (n, H, W) or (n, H, W, 3)."""
    places = np.flatnonzero(data.train.labels == label)
    chosen = np.linspace(0, len(places) - 1, min(count, len(places))).astype(np.int64)
    return data.train.images[places[chosen]]


def fit_cell(shape: tuple[int, ...]) -> tuple[int, int]:
    """(width, height) of a cell for pictures of (H, W): small ones in whole steps, none too big."""
    height, width = shape[:2]
    longest = max(height, width)
    if longest < SMALLEST_CELL:
        step = -(-SMALLEST_CELL // longest)
        return width * step, height * step
    factor = min(1.0, LARGEST_CELL / longest)
    return max(1, round(width * factor)), max(1, round(height * factor))


def resize_cell(image: NDArray[np.uint8], size: tuple[int, int]) -> Image:
    """A picture (H, W) or (H, W, 3) at `size` (width, height): pixels kept when it grows."""
    from PIL import Image

    grows = size[0] >= image.shape[1]
    method = Image.Resampling.NEAREST if grows else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize(size, method)


def shorten(name: str) -> str:
    """A class name that fits beside its row, in letters the built-in font has."""
    plain = name.encode("latin-1", "replace").decode("latin-1")
    return plain if len(plain) <= NAME_LETTERS else plain[: NAME_LETTERS - 3] + "..."


def measure(font: FreeTypeFont | ImageFont, text: str) -> int:
    """The width of `text` in pixels, rounded up."""
    return int(font.getlength(text)) + 1
