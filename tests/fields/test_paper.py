"""Photographs of paper, told from drawings and reduced to their ink."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from modelpad.errors import EmptyCanvas
from modelpad.fields.paper import is_photograph
from modelpad.fields.preparation import prepare_sketch

HEIGHT, WIDTH = 360, 300
Levels = NDArray[np.float32]


def draw_four(ink: int = 40, paper: int = 235) -> Levels:
    picture = Pillow.new("L", (WIDTH, HEIGHT), paper)
    draw = ImageDraw.Draw(picture)
    draw.line([(120, 90), (90, 190), (190, 190)], fill=ink, width=9, joint="curve")
    draw.line([(165, 100), (160, 260)], fill=ink, width=9)
    return np.asarray(picture, dtype=np.float32)


def add_gradient(levels: Levels) -> Levels:
    return levels * np.linspace(0.4, 1, WIDTH, dtype=np.float32)


def add_shadow(levels: Levels) -> Levels:
    edge = np.clip((np.arange(WIDTH) - 130) / 20, 0, 1)
    return levels * (1 - 0.5 * edge.astype(np.float32))


def add_noise(levels: Levels) -> Levels:
    return levels + np.random.default_rng(0).normal(0, 14, levels.shape).astype(np.float32)


def add_rules(levels: Levels) -> Levels:
    ruled = levels.copy()
    for top in range(20, HEIGHT, 32):
        line = top + np.rint(np.linspace(0, 4, WIDTH)).astype(int)
        for row in (line, line + 1):
            ruled[np.minimum(row, HEIGHT - 1), np.arange(WIDTH)] *= 0.68
    return ruled


def turn_dark(levels: Levels) -> Levels:
    return add_gradient(300 - levels) + 10


def as_picture(levels: Levels) -> Pillow.Image:
    return Pillow.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("change", [add_gradient, add_shadow, add_noise, add_rules, turn_dark])
def test_a_photograph_gives_what_the_clean_drawing_gives(change) -> None:  # type: ignore[no-untyped-def]
    clean = prepare_sketch(as_picture(draw_four())).astype(float)
    levels = change(draw_four())
    assert is_photograph(levels)
    photographed = prepare_sketch(as_picture(levels)).astype(float)
    assert np.corrcoef(clean.ravel(), photographed.ravel())[0, 1] > 0.9


def test_a_one_is_no_ruled_line() -> None:
    levels = np.full((HEIGHT, WIDTH), 235, np.float32)
    levels[20:-20, 140:150] = 40
    prepared = prepare_sketch(as_picture(add_gradient(levels)))
    assert (prepared > 128).any(axis=1).sum() >= 18


@pytest.mark.parametrize("change", [add_gradient, add_shadow, add_noise])
def test_an_empty_page_says_so(change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EmptyCanvas):
        prepare_sketch(as_picture(change(np.full((HEIGHT, WIDTH), 230, np.float32))))


@pytest.mark.parametrize("brush", [2, 12, 40])
@pytest.mark.parametrize("colours", [(0, 255), (255, 0), (30, 200)])
def test_a_drawing_is_no_photograph(brush: int, colours: tuple[int, int]) -> None:
    picture = Pillow.new("L", (280, 280), colours[1])
    points = [(20, 30), (250, 40), (0, 279), (279, 200)]
    ImageDraw.Draw(picture).line(points, fill=colours[0], width=brush)
    small = picture.resize((140, 140), Pillow.Resampling.BILINEAR)
    assert not is_photograph(np.asarray(picture, dtype=np.float32))
    assert not is_photograph(np.asarray(small, dtype=np.float32))


def test_a_stroke_that_touches_the_border_is_ink() -> None:
    """Where it cuts the border, its soft edges make the border look like a photograph's."""
    picture = Pillow.new("L", (560, 560), 255)
    pen = ImageDraw.Draw(picture)
    pen.line([(80, 60), (300, 20), (420, 120), (480, 556)], fill=0, width=36, joint="curve")
    pen.line([(300, 360), (420, 350)], fill=0, width=36)
    small = picture.resize((140, 140), Pillow.Resampling.BOX)
    assert prepare_sketch(small).max() == 255
