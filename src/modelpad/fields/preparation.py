"""Preprocessing of drawings, before they reach the graph.

A manifest refers to it by name and parameters; a bundle never contains code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelpad.errors import EmptyCanvas
from modelpad.fields.paper import extract_ink, is_drawn, is_photograph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import ImageFilter
    from PIL.Image import Image as Picture

# Drawings are processed at four times the box size: fine enough for a stroke, and fast.
OVERSAMPLING = 4
# A canvas with less contrast between paper and ink than this (of 255) is empty.
MIN_CONTRAST = 12
# Anything fainter than this fraction of the darkest ink is paper grain.
NOISE = 0.12
# The thinnest and the widest stroke in MNIST, in pixels of a digit 20 pixels high.
MIN_STROKE = 2.3
MAX_STROKE = 3.8


def prepare_sketch(image: Picture, *, size: int = 28, box: int = 20) -> NDArray[np.uint8]:
    """A drawing in MNIST's form: uint8 (size, size), from 0 for paper to 255 for ink.

    It is cropped to its ink, scaled with anti-aliasing so that the longer side is `box` pixels, and
    centred by centre of mass (LeCun et al., 1998, "Gradient-based learning applied to document
    recognition"). Dark on light and light on dark both work. Strokes thinner than MNIST's are
    thickened first, so that scaling does not fade them, and wider ones thinned. Of a photograph of
    paper only the ink remains (see `paper`). A picture already in this form is returned unchanged.

    Raises:
        EmptyCanvas: there is no ink.
    """
    import numpy as np
    from PIL import Image

    if image.mode == "L" and image.size == (size, size):
        levels: NDArray[np.uint8] = np.array(image, dtype=np.uint8)
        if _is_prepared(levels, box):
            return levels
    ink = _read_ink(_shrink(image, box * OVERSAMPLING * 4))
    cropped = Image.fromarray(_crop(ink))
    if max(cropped.size) > 2 * box:
        cropped = _adjust_strokes(_scale(cropped, box * OVERSAMPLING), box)
    small = np.asarray(_scale(cropped, box), dtype=np.float32)
    small = small * (255.0 / max(float(small.max()), 1.0))
    return _centre(np.rint(small).astype(np.uint8), size)


def _shrink(image: Picture, longest: int) -> Picture:
    """Reduces a picture much larger than needed by an integer factor."""
    factor = max(image.size) // longest
    if factor < 2:
        return image
    if image.mode not in ("L", "RGB", "RGBA", "LA"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.reduce(factor)


def _read_ink(image: Picture) -> NDArray[np.uint8]:
    """Ink 255 on paper 0, for any colours: the distance from the border's colour."""
    import numpy as np

    grey = _flatten(image)
    if is_photograph(grey):
        found = extract_ink(grey)
        if found is not None:
            return np.rint(found * 255).astype(np.uint8)
        if not is_drawn(grey):  # else it touches the border
            raise _empty()
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = np.abs(grey - np.median(border))
    strongest = float(ink.max())
    if strongest < MIN_CONTRAST:
        raise _empty()
    ink *= 255.0 / strongest
    ink[ink < NOISE * 255] = 0
    levels: NDArray[np.uint8] = np.rint(ink).astype(np.uint8)
    return levels


def _empty() -> EmptyCanvas:
    return EmptyCanvas("The canvas is empty.", hint="Draw something and send it again.")


def _flatten(image: Picture) -> NDArray[np.float32]:
    """Grey levels; transparent areas become white, or black if the ink itself is white."""
    import numpy as np
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layers = image.convert("RGBA")
        for paper in ("white", "black"):
            flat = Image.alpha_composite(Image.new("RGBA", image.size, paper), layers)
            grey = np.asarray(flat.convert("L"), dtype=np.float32)
            if grey.max() - grey.min() >= MIN_CONTRAST:
                break
        return grey
    if image.mode.startswith(("I", "F")):
        levels = np.asarray(image, dtype=np.float32)
        return levels * (255.0 / max(float(levels.max()), 255.0))
    return np.asarray(image.convert("L"), dtype=np.float32)


def _crop(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bounding box of the ink."""
    import numpy as np

    rows = np.flatnonzero(ink.any(axis=1))
    columns = np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scale(image: Picture, longest: int) -> Picture:
    """The picture, resized so that its longer side is `longest` pixels."""
    from PIL import Image

    ratio = longest / max(image.size)
    width, height = (max(1, round(side * ratio)) for side in image.size)
    return image.resize((width, height), Image.Resampling.HAMMING)


def _adjust_strokes(image: Picture, box: int) -> Picture:
    """Strokes as wide as MNIST's; expects a picture `OVERSAMPLING` times as large as the box.

    Wider ones come from small drawings: what has run together stays so, but most remain legible.
    """
    import numpy as np
    from PIL import Image, ImageFilter

    levels = np.asarray(image, dtype=np.float32)
    levels = levels * (255.0 / max(float(levels.max()), 1.0))
    width, unit = _stroke_width(levels), box / 20 * OVERSAMPLING
    missing = round((MIN_STROKE * unit - width) / 2)
    excess = round((width - MAX_STROKE * unit) / 2)
    if missing >= 1:
        solid = np.minimum(levels * 2, 255).astype(np.uint8)
        return _repeat(ImageFilter.MaxFilter(3), missing, np.pad(solid, missing))
    if excess >= 1:
        thin = _repeat(ImageFilter.MinFilter(3), excess, np.pad(levels.astype(np.uint8), 1))
        return Image.fromarray(_crop(np.asarray(thin)))
    return image


def _repeat(change: ImageFilter.Filter, times: int, levels: NDArray[np.uint8]) -> Picture:
    from PIL import Image

    picture = Image.fromarray(levels)
    for _ in range(times):
        picture = picture.filter(change)
    return picture


def _stroke_width(levels: NDArray[np.float32]) -> float:
    """The mean stroke width in pixels: twice the area divided by the perimeter."""
    import numpy as np

    inside = np.pad(levels > 96, 1)
    area = float(inside.sum())
    edges = float((inside[1:] != inside[:-1]).sum() + (inside[:, 1:] != inside[:, :-1]).sum())
    # A slanted edge crosses 4/pi times as many pixel sides as its length, on average.
    return 2 * area / max(edges * np.pi / 4, 1.0)


def _centre(small: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The digit on an empty canvas, its centre of mass in the middle as far as it fits."""
    import numpy as np

    canvas = np.zeros((size, size), dtype=np.uint8)
    height, width = small.shape
    row, column = _centre_of_mass(small)
    middle = size / 2 + 0.5  # the mean over MNIST's training images is 14.5
    top = min(max(round(middle - row), 0), size - height)
    left = min(max(round(middle - column), 0), size - width)
    canvas[top : top + height, left : left + width] = small
    return canvas


def _centre_of_mass(ink: NDArray[np.uint8]) -> tuple[float, float]:
    """Row and column of the centre of mass; a pixel's centre is at its index plus 0.5."""
    return _mean_position(ink.sum(axis=1)), _mean_position(ink.sum(axis=0))


def _mean_position(sums: NDArray[np.uint64]) -> float:
    """The mean position of the ink, given its sum for each row or for each column."""
    import numpy as np

    return float(sums @ np.arange(len(sums), dtype=np.uint64)) / float(sums.sum()) + 0.5


def _is_prepared(ink: NDArray[np.uint8], box: int) -> bool:
    """Whether a picture of the right size is already a preprocessed digit."""
    rows, columns = ink.sum(axis=1), ink.sum(axis=0)
    if rows[0] or rows[-1] or ink.max() < 128:
        return False
    middle = len(ink) / 2 + 0.5
    if abs(_mean_position(rows) - middle) > 1.5 or abs(_mean_position(columns) - middle) > 1.5:
        return False
    return abs(max(_extent(rows), _extent(columns)) - box) <= 2


def _extent(sums: NDArray[np.uint64]) -> int:
    """The number of rows or columns from the first with ink to the last."""
    inked = sums.nonzero()[0]
    return int(inked[-1] - inked[0]) + 1
