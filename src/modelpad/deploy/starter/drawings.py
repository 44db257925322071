"""Data to start with: drawings of circles, crosses and triangles, always the same."""

from __future__ import annotations

import io
import math
import random

SIDE, INK = 48, 4  # pixels
PER_CLASS = 30
CORNERS = {"circle": 24, "cross": 4, "triangle": 3}


def draw_all(folder: str) -> dict[str, bytes]:
    """PNG files by path: `FOLDER/CLASS/NUMBER.png`."""
    numbers = random.Random(0)
    return {
        f"{folder}/{name}/{number:02}.png": draw(name, numbers)
        for name in CORNERS
        for number in range(1, PER_CLASS + 1)
    }


def draw(name: str, numbers: random.Random) -> bytes:
    """One drawing, turned, shaken and stretched at random: black on white, as PNG."""
    from PIL import Image, ImageDraw

    corners = place_corners(CORNERS[name], numbers)
    picture = Image.new("L", (SIDE, SIDE), 255)
    pen = ImageDraw.Draw(picture)
    if name == "cross":
        for first, second in ((0, 2), (1, 3)):
            pen.line([corners[first], corners[second]], fill=0, width=INK)
    else:
        pen.line([*corners, corners[0], corners[1]], fill=0, width=INK, joint="curve")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def place_corners(count: int, numbers: random.Random) -> list[tuple[float, float]]:
    """Corners around the centre, in pixels."""
    turn = numbers.uniform(-0.3, 0.3) - math.pi / (4 if count == 4 else 2)
    wide, high = (numbers.uniform(0.25, 0.4) * SIDE for _ in range(2))
    shake = SIDE / (100 if count > 4 else 30)

    def shift() -> float:
        return SIDE / 2 + numbers.uniform(-shake, shake)

    angles = [turn + 2 * math.pi * index / count for index in range(count)]
    return [(wide * math.cos(a) + shift(), high * math.sin(a) + shift()) for a in angles]
