"""Pen strokes rendered as people draw on a pad: varying position, size, slant and brush."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets import PenDigit, Split, draw_strokes
from modelpad.fields.preparation import prepare_sketch

PAD = 140  # pixels: half the web page's pad, since drawings are reduced to 20 pixels anyway


def draw_split(digits: Sequence[PenDigit], times: int, seed: int) -> Split:
    """Renders each digit `times` times, prepared as a sketch: uint8 (N, 28, 28)."""
    images = np.empty((len(digits) * times, 28, 28), dtype=np.uint8)
    labels = np.repeat(np.array([digit.label for digit in digits], dtype=np.int64), times)
    rng = np.random.default_rng([seed, 2])
    for index in range(len(images)):
        images[index] = draw_prepared(digits[index // times], rng)
    return Split(images, labels)


def draw_prepared(digit: PenDigit, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Renders one digit as a sketch: uint8 (28, 28)."""
    height = float(rng.uniform(0.35, 0.9)) * PAD
    width = min(height * float(np.exp(rng.normal(0, 0.12))), PAD * 0.92)
    slant = float(rng.normal(0, 0.15))
    strokes = [s - np.stack([slant * (s[:, 1] - 0.5), 0 * s[:, 1]], axis=1) for s in digit.strokes]
    points = np.concatenate(strokes) * (width, height)
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.maximum(PAD - (high - low) - 4, 5)
    place = rng.uniform(4, room) - low
    brush = max(float(np.exp(rng.uniform(np.log(0.03), np.log(0.16)))) * height, 0.8)
    picture = draw_strokes(
        strokes,
        canvas=(PAD, PAD),
        scale=(width, height),
        offset=(float(place[0]), float(place[1])),
        brush_px=brush,
    )
    return prepare_sketch(picture)
