"""Preparations: what happens to a drawing before the graph sees it.

A manifest names them with their parameters; they are never code that travels with a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelpad.errors import EmptyCanvas

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

# Drawings are worked on at four times the box's size: fine enough for a stroke, and fast.
OVERSAMPLING = 4
# Less contrast than this between paper and ink is an empty canvas (of 255).
LEAST_CONTRAST = 12
# What is fainter than this part of the darkest ink is paper's grain.
NOISE = 0.12
# The thinnest stroke of MNIST's pens, in pixels of a digit 20 pixels high.
THINNEST_STROKE = 2.3


def prepare_sketch(image: Picture, *, size: int = 28, box: int = 20) -> NDArray[np.uint8]:
    """A drawing as MNIST's were made: uint8 (size, size), ink up to 255 on 0.

    Cropped to its ink, the longer side scaled to `box` pixels with anti-aliasing, centred by
    centre of mass (LeCun et al., 1998, "Gradient-based learning applied to document recognition").
    Dark on light and light on dark both work. A pen thinner than MNIST's is thickened first, so
    that it does not fade away. A picture that is prepared already passes through unchanged.

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
        cropped = _thicken(_scale(cropped, box * OVERSAMPLING), box)
    small = np.asarray(_scale(cropped, box), dtype=np.float32)
    small = small * (255.0 / max(float(small.max()), 1.0))
    return _centre(np.rint(small).astype(np.uint8), size)


def _shrink(image: Picture, longest: int) -> Picture:
    """A picture far larger than needed, reduced by a whole factor."""
    factor = max(image.size) // longest
    if factor < 2:
        return image
    if image.mode not in ("L", "RGB", "RGBA", "LA"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.reduce(factor)


def _read_ink(image: Picture) -> NDArray[np.uint8]:
    """Ink 255 on paper 0, whatever the colours: the distance from the colour of the border."""
    import numpy as np

    grey = _flatten(image)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = np.abs(grey - np.median(border))
    strongest = float(ink.max())
    if strongest < LEAST_CONTRAST:
        raise EmptyCanvas("The canvas is empty.", hint="Draw something and send it again.")
    ink *= 255.0 / strongest
    ink[ink < NOISE * 255] = 0
    levels: NDArray[np.uint8] = np.rint(ink).astype(np.uint8)
    return levels


def _flatten(image: Picture) -> NDArray[np.float32]:
    """Grey levels; what is transparent is white paper, or black where the ink itself is white."""
    import numpy as np
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layers = image.convert("RGBA")
        for paper in ("white", "black"):
            flat = Image.alpha_composite(Image.new("RGBA", image.size, paper), layers)
            grey = np.asarray(flat.convert("L"), dtype=np.float32)
            if grey.max() - grey.min() >= LEAST_CONTRAST:
                break
        return grey
    if image.mode.startswith(("I", "F")):
        levels = np.asarray(image, dtype=np.float32)
        return levels * (255.0 / max(float(levels.max()), 255.0))
    return np.asarray(image.convert("L"), dtype=np.float32)


def _crop(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Only the rows and columns from the first ink to the last."""
    import numpy as np

    rows = np.flatnonzero(ink.any(axis=1))
    columns = np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scale(image: Picture, longest: int) -> Picture:
    """The picture with its longer side `longest` pixels long."""
    from PIL import Image

    ratio = longest / max(image.size)
    width, height = (max(1, round(side * ratio)) for side in image.size)
    return image.resize((width, height), Image.Resampling.HAMMING)


def _thicken(image: Picture, box: int) -> Picture:
    """Widens strokes thinner than MNIST's; works at `OVERSAMPLING` times the box."""
    import numpy as np
    from PIL import Image, ImageFilter

    levels = np.asarray(image, dtype=np.float32)
    levels = levels * (255.0 / max(float(levels.max()), 1.0))
    wanted = THINNEST_STROKE * box / 20 * OVERSAMPLING
    missing = round((wanted - _stroke_width(levels)) / 2)
    if missing < 1:
        return image
    solid = np.minimum(levels * 2, 255).astype(np.uint8)
    thick = Image.fromarray(np.pad(solid, missing))
    for _ in range(missing):
        thick = thick.filter(ImageFilter.MaxFilter(3))
    return thick


def _stroke_width(levels: NDArray[np.float32]) -> float:
    """The mean width of strokes in pixels: twice the area over the perimeter."""
    import numpy as np

    inside = np.pad(levels > 96, 1)
    area = float(inside.sum())
    edges = float((inside[1:] != inside[:-1]).sum() + (inside[:, 1:] != inside[:, :-1]).sum())
    # A slanted edge crosses 4/pi times as many pixel sides as its length, on average.
    return 2 * area / max(edges * np.pi / 4, 1.0)


def _centre(small: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The digit on an empty field, its centre of mass in the middle as far as it fits."""
    import numpy as np

    field = np.zeros((size, size), dtype=np.uint8)
    height, width = small.shape
    row, column = _centre_of_mass(small)
    middle = size / 2 + 0.5  # where MNIST's lie: the mean over its training images is 14.5
    top = min(max(round(middle - row), 0), size - height)
    left = min(max(round(middle - column), 0), size - width)
    field[top : top + height, left : left + width] = small
    return field


def _centre_of_mass(ink: NDArray[np.uint8]) -> tuple[float, float]:
    """Row and column of the centre of mass, where a pixel's middle is at its index plus 0.5."""
    return _balance(ink.sum(axis=1)), _balance(ink.sum(axis=0))


def _balance(sums: NDArray[np.uint64]) -> float:
    """Where the ink of each row, or of each column, is in balance."""
    import numpy as np

    return float(sums @ np.arange(len(sums), dtype=np.uint64)) / float(sums.sum()) + 0.5


def _is_prepared(ink: NDArray[np.uint8], box: int) -> bool:
    """Whether a picture of the right size is a prepared digit already."""
    rows, columns = ink.sum(axis=1), ink.sum(axis=0)
    if rows[0] or rows[-1] or ink.max() < 128:
        return False
    middle = len(ink) / 2 + 0.5
    if abs(_balance(rows) - middle) > 1.5 or abs(_balance(columns) - middle) > 1.5:
        return False
    return abs(max(_extent(rows), _extent(columns)) - box) <= 2


def _extent(sums: NDArray[np.uint64]) -> int:
    """From the first row, or column, with ink to the last."""
    inked = sums.nonzero()[0]
    return int(inked[-1] - inked[0]) + 1
