"""Pen strokes rendered as people draw on a pad: varying position, size, slant and brush."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets import PenDigit, Split, draw_strokes
from modelpad.fields.preparation import prepare_sketch

PAD = 140  # pixels: half the web page's pad, since drawings are reduced to 20 pixels anyway
SMALL_PAD = 200  # of small drawings, which need a finer grid
SLANT, STRETCH = 0.15, 0.12  # standard deviations of the shear and of the logarithm of the width
# The width of the brush, as a share of the digit's height.
BRUSH, WIDE_BRUSH = (0.03, 0.16), (0.16, 0.65)


def draw_split(digits: Sequence[PenDigit], times: int, seed: int, *, small: bool = False) -> Split:
    """Renders each digit `times` times, prepared as a sketch: uint8 (N, 28, 28).

    `small` ones are drawn with a brush so wide that it fills their holes.
    """
    images = np.empty((len(digits) * times, 28, 28), dtype=np.uint8)
    labels = np.repeat(np.array([digit.label for digit in digits], dtype=np.int64), times)
    rng = np.random.default_rng([seed, 2])
    draw = draw_small if small else draw_prepared
    for index in range(len(images)):
        images[index] = draw(digits[index // times], rng)
    return Split(images, labels)


def draw_prepared(digit: PenDigit, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Renders one digit as a sketch: uint8 (28, 28)."""
    return _draw(digit, rng, PAD, float(rng.uniform(0.35, 0.9)) * PAD, BRUSH)


def draw_small(digit: PenDigit, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Renders one digit as a sketch, as if drawn small with a wide brush: uint8 (28, 28)."""
    return _draw(digit, rng, SMALL_PAD, float(rng.uniform(0.15, 0.35)) * SMALL_PAD, WIDE_BRUSH)


def _draw(
    digit: PenDigit,
    rng: np.random.Generator,
    pad: int,
    height: float,
    brushes: tuple[float, float],
) -> NDArray[np.uint8]:
    width = min(height * float(np.exp(rng.normal(0, STRETCH))), pad * 0.92)
    slant = float(rng.normal(0, SLANT))
    strokes = [s - np.stack([slant * (s[:, 1] - 0.5), 0 * s[:, 1]], axis=1) for s in digit.strokes]
    points = np.concatenate(strokes) * (width, height)
    low, high = points.min(axis=0), points.max(axis=0)
    brush = max(float(np.exp(rng.uniform(*np.log(brushes)))) * height, 0.8)
    margin = 4 if brushes == BRUSH else brush / 2 + 2
    room = np.maximum(pad - (high - low) - margin, margin + 1)
    place = rng.uniform(margin, room) - low
    picture = draw_strokes(
        strokes,
        canvas=(pad, pad),
        scale=(width, height),
        offset=(float(place[0]), float(place[1])),
        brush_px=brush,
    )
    return prepare_sketch(picture)
