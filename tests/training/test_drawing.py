"""Pen strokes as training images."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from modelpad.datasets import PenDigit
from modelpad.training.drawing import draw_split

TURNS = np.linspace(0, 2 * np.pi, 30)
LOOP = np.stack([0.5 + 0.17 * np.sin(TURNS), 0.17 - 0.17 * np.cos(TURNS)], axis=1)
TAIL = np.array([[0.67, 0.17], [0.5, 1.0]])
NINE = PenDigit(9, 1, (np.concatenate([LOOP, TAIL]).astype(np.float32),))


def count_holes(*, small: bool) -> int:
    """How many of twenty drawings of a nine have a hole."""
    split = draw_split([NINE], 20, 0, small=small)
    assert split.images.shape == (20, 28, 28)
    assert (split.labels == 9).all()
    holes = 0
    for image in split.images:
        picture = Image.fromarray(np.where(image > 100, 255, 0).astype(np.uint8)).copy()
        ImageDraw.floodfill(picture, (0, 0), 128)
        holes += picture.getextrema()[0] == 0
    return holes


def test_small_drawings_lose_their_holes() -> None:
    assert count_holes(small=False) >= 17
    assert count_holes(small=True) <= 12
