"""Digits written with a pen on a tablet, as strokes, and the drawing of strokes as on a canvas.

The strokes are the training part of UCI's Pen-Based Recognition of Handwritten Digits
(E. Alpaydin, F. Alimoglu, 1998, CC BY 4.0). Independent of how a drawing is prepared for a model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.catalogue import find_file, lookup_folders
from modelpad.datasets.idx import damaged, read_content
from modelpad.errors import DataSetNotFound

if TYPE_CHECKING:
    from PIL.Image import Image

Stroke = NDArray[np.float32]
"""Points (n, 2) of x and y, float32, in the order they were drawn."""

FILE_NAME = "strokes.json.gz"
SUPERSAMPLING = 4


@dataclass(frozen=True, slots=True)
class PenDigit:
    """One written digit. Its strokes lie in the unit square, y downwards, aspect kept."""

    label: int
    writer: int
    strokes: tuple[Stroke, ...]


def load_pen_strokes(roots: Sequence[Path]) -> list[PenDigit]:
    """The digits of `ROOT/pen-digits/strokes.json.gz` in the first root that has it.

    Raises DataSetNotFound when none has, DataSetInvalid when the file is damaged.
    """
    folders = lookup_folders("pen-digits", roots, None)
    path = find_file(FILE_NAME, folders)
    if path is None:
        searched = ", ".join(str(folder) for folder in folders) or "no folder at all"
        raise DataSetNotFound(
            f"pen-digits was not found: {FILE_NAME} is in none of: {searched}.",
            hint=f"Put it at FOLDER/pen-digits/{FILE_NAME} and set MODELPAD_DATA to FOLDER.",
        )
    content = read_content(path)
    try:
        return [read_digit(record) for record in json.loads(content)]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise damaged(path, f"is damaged: {error}") from error


def read_digit(record: dict[str, object]) -> PenDigit:
    """One record of the file. Raises ValueError, KeyError or TypeError when it is malformed."""
    label, writer, strokes = record["label"], record["writer"], record["strokes"]
    if not (isinstance(label, int) and isinstance(writer, int) and isinstance(strokes, list)):
        raise TypeError("a digit lacks its label, writer or strokes")
    with np.errstate(over="ignore"):
        arrays = tuple(np.asarray(stroke, np.float32).reshape(-1, 2) for stroke in strokes)
    if not all(np.isfinite(stroke).all() for stroke in arrays):
        raise ValueError("a stroke holds NaN or infinity")
    return PenDigit(label, writer, arrays)


def draw_strokes(
    strokes: Sequence[Stroke],
    *,
    canvas: tuple[int, int] = (280, 280),
    scale: float | tuple[float, float] = 200.0,
    offset: tuple[float, float] = (40.0, 40.0),
    brush_px: float = 18.0,
    ink: int = 0,
    paper: int = 255,
) -> Image:
    """Strokes as an HTML canvas draws them with round caps and joins: a grey ("L") picture.

    `canvas` is (width, height) in pixels. A point p of a stroke lands on `scale * p + offset`, in
    pixels; what falls outside is cut off. `brush_px` is the width of the line. A stroke of one
    point is a dot. Edges are smooth: drawn four times as large and averaged.
    """
    from PIL import Image, ImageDraw

    large = Image.new("L", (canvas[0] * SUPERSAMPLING, canvas[1] * SUPERSAMPLING), paper)
    draw = ImageDraw.Draw(large)
    radius = brush_px * SUPERSAMPLING / 2
    factor, shift = np.asarray(scale, np.float64), np.asarray(offset, np.float64)
    for stroke in strokes:
        # Pillow's coordinates name the middle of a pixel, a canvas's its corner.
        points = (np.asarray(stroke, np.float64) * factor + shift) * SUPERSAMPLING - 0.5
        for x, y in points.tolist():
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
        for corners in outline_segments(points, radius).tolist():
            draw.polygon([(x, y) for x, y in corners], fill=ink)
    return large.reduce(SUPERSAMPLING)


def outline_segments(points: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """The corners (m, 4, 2) of the thick lines between points (n, 2), without caps.

    Those that have no length are left out.
    """
    start, along = points[:-1], np.diff(points, axis=0)
    lengths = np.hypot(along[:, 0], along[:, 1])
    start, along, lengths = (part[lengths > 0] for part in (start, along, lengths))
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * (radius / lengths)[:, None]
    end = start + along
    return np.stack([start + across, end + across, end - across, start - across], axis=1)
