"""Photographs of paper: tells them from clean drawings, and reduces them to their ink.

Lighting, shadows, noise, ruled lines and specks are removed. Does not depend on what is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Levels = NDArray[np.float32]

Pixel = TypeVar("Pixel", bound="np.generic")

# Smaller pictures are never photographs of paper; larger ones are halved.
MIN_SIDE, MAX_SIDE = 64, 400
# A pixel this close (of 255) to the border's median is background, as are so many on the border.
FLAT, FLAT_BORDER = 6, 0.6
DRAWN_BORDER, DRAWN_AREA = 0.7, 0.5
# A pixel is clean ink from this share of the largest distance from the background.
CLEAN_INK = 0.7
# The shares of background and clean ink that a drawing has at least, on its border and anywhere.
CLEAN_BORDER, CLEAN_AREA = 0.97, 0.8
# The paper is estimated in this many blocks along the longer side; in so few, ink is a minority.
BLOCKS, COARSE = 40, 10
# A stroke is less than this many blocks wide; a shadow is wider.
STROKE_BLOCKS = 5
# Fractions of the ink's darkness: up to the first it is paper, from the second on ink.
FAINT, DARK = 0.35, 0.6
# Ink is darker than the paper by this share, and by so many standard deviations of its grain.
MIN_DARKNESS, GRAIN = 0.15, 6.0
# A ruled line covers this share of the width or height, rising by at most that share of it.
RULED, MAX_RISE = 0.7, 0.03
# It is fainter than this fraction of the ink; else it could be a one.
MAX_RULE = 0.7
# A speck has less than this share of the ink of the largest connected part. What touches the edge
# is dropped if this share of the ink does not.
SPECK, INNER = 0.08, 0.3
CELL = 4  # pixels: parts of the ink that are closer than this are connected
STEPS = (-1, 0, 1)


def is_photograph(grey: Levels) -> bool:
    """Whether grey levels (H, W), 0..255, show a photograph or scan, not a clean drawing.

    A drawing has two levels, of its background and its ink, and little between them. Along its
    border is more background than ink.
    """
    import numpy as np

    if min(grey.shape) < MIN_SIDE:
        return False
    distance = np.abs(grey - np.median(_border(grey)))
    flat = distance <= FLAT
    clean = flat | (distance >= CLEAN_INK * distance.max())
    return bool(
        _border(flat).mean() < FLAT_BORDER
        or _border(clean).mean() < CLEAN_BORDER
        or clean.mean() < CLEAN_AREA
    )


def is_drawn(grey: Levels) -> bool:
    """Whether at least half of a picture has exactly the level of most of its border.

    So it is in what a program drew, even where the drawing touches the border; a camera's picture
    has grain.
    """
    import numpy as np

    border = _border(grey)
    middle = np.median(border)
    plain = (np.abs(border - middle) <= FLAT).mean()
    return bool(plain >= DRAWN_BORDER and (grey == middle).mean() >= DRAWN_AREA)


def _border(grid: NDArray[Pixel]) -> NDArray[Pixel]:
    import numpy as np

    return np.concatenate([grid[0], grid[-1], grid[:, 0], grid[:, -1]])


def extract_ink(grey: Levels) -> Levels | None:
    """The ink in grey levels (h, w): float32 from 0 for paper to 1, or None if there is none.

    Each pixel is compared with the paper around it, taken to be as bright as the brighter part of
    its neighbourhood, so that gradients and shadows cancel out. Light ink on a dark background
    works as well. A picture larger than 400 pixels is halved.
    """
    import numpy as np

    if max(grey.shape) > MAX_SIDE:
        height, width = (side // 2 * 2 for side in grey.shape)
        grey = grey[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    smooth = _average(grey, 1)
    darkness, strongest = _compare_with_paper(smooth if _is_ink_dark(smooth) else 255 - smooth)
    if strongest < MIN_DARKNESS:
        return None
    relative = darkness / strongest
    erase_rules(relative)
    erase_rules(relative.T)
    ink = np.clip((relative - FAINT) / (DARK - FAINT), 0, 1)
    found: Levels = ink * _find_parts(ink)
    return found


def erase_rules(ink: Levels) -> None:
    """Erases, in place, straight lines that cross relative ink (H, W) from left to right.

    Pixels of a line that are clearly darker than most of it belong to a stroke, and remain.
    """
    import numpy as np

    height, width = ink.shape
    cells = width // CELL
    # A line is found in the columns' coarse pattern, which is a quarter as wide.
    marked = ink[:, : cells * CELL].reshape(height, cells, CELL).max(axis=2) > FAINT / 2
    rows, centres = np.arange(height)[:, None], (np.arange(cells) + 0.5) / cells - 0.5
    reach = round(MAX_RISE * width)
    lines = []
    for rise in range(-reach, reach + 1):
        place = np.clip(rows + np.rint(rise * centres).astype(np.int64), 0, height - 1)
        covered = np.take_along_axis(marked, place, axis=0).mean(axis=1)
        lines += [(row, rise) for row in np.flatnonzero(covered >= RULED)]
    if len(lines) > height:  # a texture; ruled lines are few
        return
    columns = np.arange(width)
    rises = (columns + 0.5) / width - 0.5
    found = ink.copy()
    for row, rise in lines:
        line = np.clip(row + np.rint(rise * rises).astype(np.int64), 0, height - 1)
        levels = found[line, columns]
        if np.median(levels) > MAX_RULE:
            continue
        stroke = levels > 1.3 * np.median(levels) + 0.1
        ink[line, columns] = np.where(stroke, ink[line, columns], 0)


def _is_ink_dark(grey: Levels) -> bool:
    """Whether most of what differs strongly from its surroundings is darker than they are."""
    difference = grey - _enlarge(_block_medians(grey, COARSE), grey, COARSE)
    return float((difference**3).mean()) <= 0


def _compare_with_paper(grey: Levels) -> tuple[Levels, float]:
    """How much darker than the paper around it each pixel is, from 0 to 1, and the ink's darkness.

    The latter is 0 if nothing is clearly darker than the paper's grain.
    """
    import numpy as np

    darkness = 1 - grey / np.maximum(_estimate_paper(grey), 1)
    darkness -= np.median(darkness)
    few = max(12, darkness.size // 1000)
    strongest = float(np.partition(darkness, -few, axis=None)[-few:].mean())
    grain = 1.4826 * float(np.median(np.abs(darkness)))  # the standard deviation, of most pixels
    return np.maximum(darkness, 0), strongest if strongest >= GRAIN * grain else 0.0


def _estimate_paper(grey: Levels) -> Levels:
    """The brightness of the paper under each pixel."""
    import numpy as np

    reach = STROKE_BLOCKS // 2
    # The lighting goes on beyond the edges as it comes to them.
    around = np.pad(_block_medians(grey, BLOCKS), 2 * reach, "reflect", reflect_type="odd")
    closed = -_dilate(-_dilate(around, reach), reach)  # fills what is narrower than a stroke
    return _enlarge(closed[2 * reach : -2 * reach, 2 * reach : -2 * reach], grey, BLOCKS)


def _block_medians(grey: Levels, count: int) -> Levels:
    """The median of each square block, `count` of them along the longer side."""
    import numpy as np

    height, width = grey.shape
    side = max(height, width) // count
    rows, columns = -(-height // side), -(-width // side)
    padded = np.pad(grey, ((0, rows * side - height), (0, columns * side - width)), "edge")
    blocks = padded.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows, columns, -1)
    middle = side * side // 2
    return np.partition(blocks, middle, axis=2)[:, :, middle]


def _enlarge(blocks: Levels, grey: Levels, count: int) -> Levels:
    """The blocks' levels, interpolated to the size of the picture that they were made from."""
    import numpy as np
    from PIL import Image

    (height, width), (rows, columns) = grey.shape, blocks.shape
    side = max(height, width) // count
    size = (columns * side, rows * side)
    large = Image.fromarray(blocks).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(large, dtype=np.float32)[:height, :width]


def _dilate(levels: Levels, reach: int) -> Levels:
    """The maximum over squares of `2 * reach + 1` pixels."""
    import numpy as np

    for axis in (0, 1):
        levels = np.max([*_shift(levels, reach, axis)], axis=0)
    return levels


def _average(levels: Levels, reach: int) -> Levels:
    """The mean over squares of `2 * reach + 1` pixels."""
    for axis in (0, 1):
        levels = sum(_shift(levels, reach, axis)) / (2 * reach + 1)  # type: ignore[assignment]
    return levels


def _shift(levels: Levels, reach: int, axis: int) -> Iterator[Levels]:
    """The picture shifted along an axis by up to `reach` pixels each way; edges are repeated."""
    import numpy as np

    margins = [(0, 0), (0, 0)]
    margins[axis] = (reach, reach)
    padded, length = np.pad(levels, margins, "edge"), levels.shape[axis]
    for start in range(2 * reach + 1):
        yield padded[start : start + length] if axis == 0 else padded[:, start : start + length]


def _find_parts(ink: Levels) -> NDArray[np.bool_]:
    """Where the ink is, without specks and without what touches the picture's edge.

    If most of it touches the edge, that remains.
    """
    import numpy as np

    height, width = ink.shape
    rows, columns = -(-height // CELL), -(-width // CELL)
    padded = np.pad(ink, ((0, rows * CELL - height), (0, columns * CELL - width)))
    amounts = padded.reshape(rows, CELL, columns, CELL).sum(axis=(1, 3))
    parts = _connect(amounts > 0)
    inner = [part for part in parts if part.min() > 0 and (part < (rows - 1, columns - 1)).all()]
    if sum(_mass(amounts, part) for part in inner) >= INNER * amounts.sum():
        parts = inner
    largest = max((_mass(amounts, part) for part in parts), default=0.0)
    kept = np.zeros((rows, columns), dtype=bool)
    for part in parts:
        kept[part[:, 0], part[:, 1]] = _mass(amounts, part) >= SPECK * largest
    return kept.repeat(CELL, axis=0).repeat(CELL, axis=1)[:height, :width]


def _mass(amounts: Levels, part: NDArray[np.int64]) -> float:
    return float(amounts[part[:, 0], part[:, 1]].sum())


def _connect(marked: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """The connected parts of a grid, corners included: each the cells (n, 2), row and column."""
    import numpy as np

    free = {(int(row), int(column)) for row, column in zip(*marked.nonzero(), strict=True)}
    parts = []
    while free:
        part = [free.pop()]
        for row, column in part:  # which grows
            around = {(row + down, column + right) for down in STEPS for right in STEPS} & free
            free -= around
            part += sorted(around)
        parts.append(np.array(part, dtype=np.int64))
    return sorted(parts, key=len)
