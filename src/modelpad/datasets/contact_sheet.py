"""A PNG with samples of a data set of images: one row per class, with its name and count."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.dataset import DataSet
from modelpad.datasets.inputs import ImageInput
from modelpad.datasets.split import Item, Split, no_images
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
    """Writes a PNG with up to `per_class` train images of each class to `path`, and returns it.

    Samples are spread evenly over each class; only they are decoded. The first 100 classes are
    shown; without classes, one row shows all items. Raises DataSetInvalid for a data set of texts,
    ModelpadError when the file cannot be written.
    """
    sheet = draw_sheet(data, per_class)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, format="PNG", optimize=True)
    except OSError as error:
        raise ModelpadError(
            f"The contact sheet cannot be written to {path}: {error.strerror or error}.",
            hint="Choose another file with --sheet PATH.",
            path=str(path),
        ) from error
    return path


def draw_sheet(data: DataSet, per_class: int) -> Image:
    """The contact sheet as an RGB image."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(FONT_PX)
    rows = group_items(data)
    shown = rows[:MAX_ROWS]
    names = [(shorten(name), f"{len(places):,}") for name, places in shown]
    label_width = max(measure(font, text) for pair in names for text in pair) + MARGIN
    cell = fit_cell(data.train)
    rest = len(rows) - len(shown)
    sheet = Image.new(
        "RGB",
        (
            2 * MARGIN + label_width + per_class * (cell[0] + GAP) - GAP,
            2 * MARGIN + len(shown) * (cell[1] + GAP) - GAP + (FONT_PX + GAP) * bool(rest),
        ),
        PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for row, ((name, count), (_, places)) in enumerate(zip(names, shown, strict=True)):
        top = MARGIN + row * (cell[1] + GAP)
        middle = top + cell[1] // 2
        draw.text((MARGIN, middle - 1), name, INK, font, anchor="ls")
        draw.text((MARGIN, middle + 2), count, FAINT, font, anchor="la")
        for column, place in enumerate(spread(places, per_class)):
            image = fit_image(data.train[int(place)].input, cell)
            left = MARGIN + label_width + column * (cell[0] + GAP)
            sheet.paste(
                image, (left + (cell[0] - image.width) // 2, top + (cell[1] - image.height) // 2)
            )
    if rest:
        draw.text((MARGIN, sheet.height - MARGIN), f"and {rest:,} more classes", FAINT, font, "ls")
    return sheet


def group_items(data: DataSet) -> list[tuple[str, NDArray[np.int64]]]:
    """The train items of each class, as indices; all in one group when there are no classes."""
    if not data.classes:
        return [("all", np.arange(len(data.train)))]
    if data.task == "classification":
        members = [data.train.labels == label for label in range(len(data.classes))]
    else:
        members = list(data.train.targets.astype(np.bool_).T)
    return [
        (name, np.flatnonzero(chosen)) for name, chosen in zip(data.classes, members, strict=True)
    ]


def spread(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Up to `count` of `places`, evenly spread."""
    chosen = np.linspace(0, len(places) - 1, min(count, len(places))).astype(np.int64)
    return places[chosen]


def fit_cell(split: Split) -> tuple[int, int]:
    """(width, height) of a cell: small images enlarged in whole steps, large ones reduced.

    A square when sizes vary. Raises DataSetInvalid for texts.
    """
    kind = split.kind
    if not isinstance(kind, ImageInput):
        raise no_images()
    if kind.height is None or kind.width is None:
        return LARGEST_CELL, LARGEST_CELL
    longest = max(kind.height, kind.width)
    if longest < SMALLEST_CELL:
        step = -(-SMALLEST_CELL // longest)
        return kind.width * step, kind.height * step
    factor = min(1.0, LARGEST_CELL / longest)
    return max(1, round(kind.width * factor)), max(1, round(kind.height * factor))


def fit_image(item: Item, cell: tuple[int, int]) -> Image:
    """An image, aspect kept, as large as fits into `cell` (width, height)."""
    from PIL import Image

    if isinstance(item, str):
        raise no_images()
    pixels = item[:, :, 0] if item.ndim == 3 and item.shape[2] == 1 else item
    height, width = pixels.shape[:2]
    factor = min(cell[0] / width, cell[1] / height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS
    return Image.fromarray(pixels).resize(size, method)


def shorten(name: str) -> str:
    """A class name that fits next to its row, in letters that the built-in font has."""
    plain = name.encode("latin-1", "replace").decode("latin-1")
    return plain if len(plain) <= NAME_LETTERS else plain[: NAME_LETTERS - 3] + "..."


def measure(font: FreeTypeFont | ImageFont, text: str) -> int:
    """The width of `text` in pixels, rounded up."""
    return int(font.getlength(text)) + 1
