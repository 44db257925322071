"""Synthetic photographs of digits on paper: lighting, sensor noise, ruled lines, coloured ink.

Each is a JPEG file. The strokes come from `pen-digits`; everything else is drawn here.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from modelpad.datasets import PenDigit, draw_strokes

Random = np.random.Generator
BLACK, BLUE = (38, 38, 42), (44, 62, 158)


@dataclass(frozen=True, slots=True)
class Scene:
    """How a photograph differs from a drawing.

    `light` is the darkest lighting of a linear gradient, `shadow` that of a soft shadow, as shares
    of the brightest. `noise` is the standard deviation of the sensor, of 255. `rules` are ruled
    lines with the darkness of `rules`, of 1.
    """

    light: float = 0.92
    shadow: float = 1.0
    noise: float = 2.5
    rules: float = 0.0
    ink: tuple[int, int, int] = BLACK


SCENES: Mapping[str, Scene] = {
    "gradient": Scene(light=0.4),
    "shadow": Scene(shadow=0.5),
    "noise": Scene(noise=14),
    "ruled": Scene(rules=0.3),
    "blue": Scene(ink=BLUE),
    "all at once": Scene(light=0.6, shadow=0.65, noise=8, rules=0.22, ink=BLUE),
}


def photograph(digit: PenDigit, scene: Scene, rng: Random) -> bytes:
    """A JPEG of the digit on paper, 500 to 900 pixels wide and high."""
    width, height = int(rng.integers(500, 900)), int(rng.integers(500, 900))
    size = float(rng.uniform(0.25, 0.6)) * min(width, height)
    mask = draw_strokes(
        digit.strokes,
        canvas=(width, height),
        scale=size,
        offset=(
            float(rng.uniform(0.08 * width, 0.92 * width - size)),
            float(rng.uniform(0.08 * height, 0.92 * height - size)),
        ),
        brush_px=float(rng.uniform(0.03, 0.08)) * size,
        ink=255,
        paper=0,
    ).filter(ImageFilter.GaussianBlur(0.8))
    cover = np.asarray(mask, dtype=np.float32)[:, :, None] / 255
    paper = np.array((238, 236, 230), np.float32) * _rule(height, width, scene, rng)
    picture = paper * (1 - cover) + np.array(scene.ink, np.float32) * cover
    picture *= _light(height, width, scene, rng)[:, :, None]
    picture += rng.normal(0, scene.noise, picture.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def _rule(height: int, width: int, scene: Scene, rng: Random) -> NDArray[np.float32]:
    """The paper's reflectance (H, W, 3): 1, less on ruled lines, which are up to 1 degree askew."""
    sheet = Image.new("L", (width, height), 0)
    if scene.rules:
        draw, slope = ImageDraw.Draw(sheet), float(rng.normal(0, 0.006))
        spacing = int(rng.integers(36, 64))
        for top in range(int(rng.integers(0, spacing)) - spacing, height + spacing, spacing):
            ends = (0, top - slope * width / 2, width, top + slope * width / 2)
            draw.line(ends, fill=255, width=int(rng.integers(1, 4)))
    lines = np.asarray(sheet.filter(ImageFilter.GaussianBlur(0.6)), dtype=np.float32)[:, :, None]
    colour = np.array((1.0, 0.8, 0.45), np.float32)  # blue lines reflect more blue than red
    return 1 - lines / 255 * scene.rules * colour / 0.816  # so that their grey level is as asked


def _light(height: int, width: int, scene: Scene, rng: Random) -> NDArray[np.float32]:
    """The light on each pixel (H, W), at most 1."""
    angle = float(rng.uniform(0, 2 * np.pi))
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    along = columns * np.cos(angle) + rows * np.sin(angle)
    along = (along - along.min()) / np.ptp(along)
    light = scene.light + (1 - scene.light) * along
    if scene.shadow < 1:
        shade = Image.new("L", (width, height), 0)
        x, y = (float(rng.uniform(0.2, 0.8)) * side for side in (width, height))
        turn = float(rng.uniform(0, 2 * np.pi))
        far = 3 * max(width, height)
        edge = [(x + far * np.cos(turn + step), y + far * np.sin(turn + step)) for step in (-1, 1)]
        ImageDraw.Draw(shade).polygon([(x, y), *edge], fill=255)
        soft = shade.filter(ImageFilter.GaussianBlur(float(rng.uniform(6, 25))))
        light *= 1 - (1 - scene.shadow) * np.asarray(soft, dtype=np.float32) / 255
    return light
