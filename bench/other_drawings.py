"""Drawings that are not digits: letters, doodles, dots, scribbles, noise and empty pages.

The digits recipe sees none of them, nor any other drawing that is not a digit: what is unknown is
fitted on digits alone. Letters that are also digits (I, l, O, S, Z, B, b, g, q) are left out.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from modelpad.datasets import draw_strokes

Random = np.random.Generator
Points = list[tuple[float, float]]
PAD = 280

# Strokes on a grid: digits are x and y from 0 to 8, y downwards; "/" lifts the pen.
LETTERS = {
    "A": "08 40 88 / 25 65", "C": "81 50 20 02 06 28 58 87", "D": "00 08 48 86 82 40 00",
    "E": "80 00 08 88 / 04 64", "F": "80 00 08 / 04 64", "G": "81 50 20 02 06 28 58 86 84 54",
    "H": "00 08 / 80 88 / 04 84", "K": "00 08 / 80 04 88", "L": "00 08 78",
    "M": "08 00 44 80 88", "N": "08 00 88 80", "P": "08 00 60 82 64 04",
    "R": "08 00 60 82 64 04 / 44 88", "T": "00 80 / 40 48", "U": "00 06 28 68 86 80",
    "V": "00 48 80", "W": "00 28 44 68 80", "X": "00 88 / 80 08", "Y": "00 44 80 / 44 48",
    "a": "83 52 23 05 17 38 67 83 / 82 88", "e": "05 85 83 62 32 04 06 28 68 87",
    "h": "00 08 / 05 33 63 85 88", "k": "00 08 / 73 05 78",
    "m": "08 03 / 04 23 45 48 / 45 63 85 88",
    "n": "03 08 / 05 33 63 85 88", "r": "03 08 / 05 33 63", "t": "40 47 68 / 13 73",
    "w": "03 28 45 68 83", "x": "03 88 / 83 08",
}  # fmt: skip
DOODLES = {
    "house": "08 04 40 84 88 08 / 38 35 55 58", "star": "18 40 78 03 83 18",
    "heart": "48 04 01 20 42 60 81 84 48", "arrow": "04 84 / 52 84 56", "tick": "05 38 80",
    "hash": "20 28 / 60 68 / 02 82 / 06 86", "plus": "40 48 / 04 84", "equals": "02 82 / 06 86",
    "face": "30 60 83 86 58 28 05 02 30 / 33 34 / 53 54 / 26 47 66",
    "envelope": "01 81 87 07 01 44 81", "wave": "04 12 24 36 44 52 64 76 84",
    "tree": "48 45 / 15 40 75 15", "lightning": "50 14 44 28 73 43 50",
    "cup": "01 18 58 71 01 / 72 83 84 65",
    "fish": "04 22 52 74 56 26 04 / 74 82 86 74", "boat": "05 28 68 85 05 / 45 40 75",
    "ladder": "20 28 / 60 68 / 22 62 / 24 64 / 26 66",
    "spiral": "44 55 46 35 33 53 65 57 37 25 22 52 73 76 58 28 06",
    "square": "11 71 77 17 11", "diamond": "40 84 48 04 40", "asterisk": "40 48 / 11 77 / 71 17",
    "question": "02 10 50 72 53 45 46 / 48 48", "ampersand": "88 22 20 40 42 05 07 28 58 84",
    "music": "28 08 07 26 28 20 60 68 48 47 66", "cloud": "16 04 22 41 62 84 76 16",
}  # fmt: skip


def draw_letter(rng: Random) -> bytes:
    """A letter that is no digit."""
    return _draw_template(LETTERS[str(rng.choice([*LETTERS]))], rng)


def draw_doodle(rng: Random) -> bytes:
    """A small picture of a thing, or a sign."""
    return _draw_template(DOODLES[str(rng.choice([*DOODLES]))], rng)


def draw_dot(rng: Random) -> bytes:
    """One touch of the pen, hardly moved."""
    return _draw_strokes([rng.normal(0, 0.004, (3, 2)) + 0.5], rng)


def draw_scribble(rng: Random) -> bytes:
    """The pen moved to and fro without purpose: a sum of sines in x and in y."""
    time = np.linspace(0, 1, 160)
    axes = []
    for _ in range(2):
        rates, starts = rng.uniform(2, 9, 3), rng.uniform(0, 2 * np.pi, 3)
        waves = np.sin(2 * np.pi * rates * time[:, None] + starts)
        axes.append(waves @ (0.5, 0.3, 0.15) / 2 + 0.5)
    return _draw_strokes([np.stack(axes, axis=1)], rng)


def draw_noise(rng: Random) -> bytes:
    """Random grey levels: as fine grain, or as clouds."""
    grain = rng.uniform(0, 255, (PAD, PAD)).astype(np.uint8)
    picture = Image.fromarray(grain).filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 8))))
    levels = np.asarray(picture, dtype=np.float32)
    levels = (levels - levels.min()) / max(float(np.ptp(levels)), 1) * 255
    return _encode(Image.fromarray(levels.astype(np.uint8)))


def draw_empty_page(rng: Random) -> bytes:
    """A photograph of paper with nothing on it: uneven light, some noise, half of them ruled."""
    rows, columns = np.mgrid[0:1:480j, 0:1:360j]
    slope = rng.uniform(-0.4, 0.4, 2)
    levels = 210 * (1 + slope[0] * (rows - 0.5) + slope[1] * (columns - 0.5))
    if rng.random() < 0.5:
        levels[int(rng.integers(10, 40)) :: 40] *= 0.7
    return _encode(
        Image.fromarray(np.clip(levels + rng.normal(0, 6, levels.shape), 0, 255).astype(np.uint8))
    )


OTHERS: Mapping[str, Callable[[Random], bytes]] = {
    "letters": draw_letter,
    "doodles": draw_doodle,
    "dots": draw_dot,
    "scribbles": draw_scribble,
    "noise": draw_noise,
    "empty pages": draw_empty_page,
}


def _draw_template(template: str, rng: Random) -> bytes:
    """A template's strokes, as an unsteady hand draws them."""
    turn, shear = rng.normal(0, 0.08), rng.normal(0, 0.12)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [shear - np.sin(turn), np.cos(turn)]])
    matrix *= (float(np.exp(rng.normal(0, 0.15))), 1)
    strokes = []
    for part in template.split("/"):
        corners = np.array([(int(x), int(y)) for x, y in part.split()], dtype=np.float64) / 8
        corners += rng.normal(0, 0.025, corners.shape)
        strokes.append(_round_corners(corners) @ matrix)
    return _draw_strokes(strokes, rng)


def _round_corners(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cuts the corners twice (Chaikin, 1974), which makes a smooth line."""
    for _ in range(2):
        if len(points) < 3:
            break
        near, far = 0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]
        middle = np.stack([near, far], axis=1).reshape(-1, 2)
        points = np.concatenate([points[:1], middle, points[-1:]])
    return points


def _draw_strokes(strokes: list[NDArray[np.float64]], rng: Random) -> bytes:
    """A PNG of the page's pad with these strokes, of random size, place and brush."""
    points = np.concatenate(strokes)
    low, extent = points.min(axis=0), max(float(np.ptp(points, axis=0).max()), 0.2)
    size = float(rng.uniform(90, 220))
    place = (float(rng.uniform(12, PAD - size - 12)), float(rng.uniform(12, PAD - size - 12)))
    picture = draw_strokes(
        [((stroke - low) / extent).astype(np.float32) for stroke in strokes],
        canvas=(PAD, PAD),
        scale=size,
        offset=place,
        brush_px=float(rng.uniform(8, 24)),
    )
    return _encode(picture)


def _encode(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
