"""The preprocessing of drawings."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from modelpad.bundle import Bundle
from modelpad.errors import EmptyCanvas
from modelpad.fields.preparation import prepare_sketch


def draw_seven(size: int, brush: int, ink: int = 0, paper: int = 255) -> Pillow.Image:
    picture = Pillow.new("L", (size, size), paper)
    points = [(0.2 * size, 0.2 * size), (0.6 * size, 0.2 * size), (0.35 * size, 0.8 * size)]
    ImageDraw.Draw(picture).line(points, fill=ink, width=brush, joint="curve")
    return picture


@pytest.mark.parametrize("size", [60, 280, 2000])
@pytest.mark.parametrize("brush", [1, 4, 12])
@pytest.mark.parametrize("colours", [(0, 255), (255, 0), (30, 200), (220, 90)])
def test_a_sketch_is_found_at_any_size_and_polarity(
    size: int, brush: int, colours: tuple[int, int], digits: Bundle
) -> None:
    prepared = prepare_sketch(draw_seven(size, brush, *colours))
    assert prepared.shape == (28, 28)
    rows, columns = np.nonzero(prepared > 40)
    assert 17 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
    assert prepared.max() == 255
    weights = prepared / prepared.sum()
    assert abs((weights.sum(axis=1) @ np.arange(28)) - 14) < 1.1
    assert abs((weights.sum(axis=0) @ np.arange(28)) - 14) < 1.1


@pytest.mark.parametrize("paper", [(0, 0, 0, 0), (255, 255, 255, 0)])
@pytest.mark.parametrize("ink", [(0, 0, 0, 255), (255, 255, 255, 255)])
def test_transparent_paper(paper: tuple[int, ...], ink: tuple[int, ...]) -> None:
    picture = Pillow.new("RGBA", (100, 100), paper)
    ImageDraw.Draw(picture).line([(50, 10), (50, 90)], fill=ink, width=8)
    assert prepare_sketch(picture).sum() > 3000


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_canvas_says_so(level: int) -> None:
    with pytest.raises(EmptyCanvas, match="empty"):
        prepare_sketch(Pillow.new("L", (280, 280), level))


def test_a_prepared_digit_passes_through_unchanged(digits: Bundle) -> None:
    for number in range(10):
        picture = Pillow.open(digits.path(f"samples/{number}.png"))
        assert (prepare_sketch(picture) == np.array(picture)).mean() > 0.95


def test_a_small_drawing_with_a_wide_brush_is_thinned() -> None:
    picture = Pillow.new("L", (280, 280), 255)
    points = [(100, 100), (128, 100), (110, 140)]
    ImageDraw.Draw(picture).line(points, fill=0, width=14, joint="curve")
    wide, thin = (prepare_sketch(each) for each in (picture, draw_seven(280, 14)))
    assert 17 <= np.ptp(np.nonzero(wide > 40)[0]) + 1 <= 21
    assert (wide > 128).sum() < 2.2 * (thin > 128).sum()
