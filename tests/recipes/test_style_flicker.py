"""Whether two frames of a moved camera are painted alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from modelpad.recipes.style.flicker import (
    LEVELS,
    NOISE,
    Shift,
    draw_noise,
    draw_shift,
    measure_flicker,
)
from modelpad.recipes.style.network import STRIDE, Painter

STYLE = torch.ones(2, 1)


def draw_photos() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 255 * torch.rand(2, 3, 72, 64, generator=generator)


def measure(painter: Any, shift: Shift, noise: torch.Tensor | None = None) -> torch.Tensor:
    photos = draw_photos()
    noise = torch.zeros_like(photos) if noise is None else noise
    return measure_flicker(painter, photos, STYLE, painter(photos, STYLE), (shift, noise))


@pytest.mark.parametrize("shift", [Shift(0, 0), Shift(3, 5), Shift(STRIDE - 1, 0)])
def test_what_moves_with_the_camera_does_not_flicker(shift: Shift) -> None:
    assert measure(lambda photos, style: 255 - photos, shift).tolist() == [0, 0]


def test_what_stays_in_its_place_on_the_screen_flickers() -> None:
    screen = torch.linspace(0, 255, 72)[:, None]

    def paint(photos: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        return photos * 0 + screen[: photos.shape[2]]

    step = 255 / 71 / LEVELS
    assert measure(paint, Shift(2, 6)).numpy() == pytest.approx([(2 * step) ** 2] * 2, rel=1e-4)


def test_noise_is_that_of_a_camera() -> None:
    noise = draw_noise(np.random.default_rng(0), draw_photos())
    assert float(noise.std()) == pytest.approx(NOISE, rel=0.05)
    found = measure(lambda photos, style: photos, Shift(1, 1), noise)
    assert found.numpy() == pytest.approx([(NOISE / LEVELS) ** 2] * 2, rel=0.1)


def test_shifts_are_those_a_stride_can_hide() -> None:
    draw = np.random.default_rng(0)
    found = [draw_shift(draw) for _ in range(200)]
    assert {each.down for each in found} == {each.right for each in found} == set(range(STRIDE))


def test_training_against_flicker_calms_a_painter() -> None:
    torch.manual_seed(0)
    painter, photos = Painter(1, (4, 4, 4), 1), draw_photos()
    optimizer = torch.optim.Adam(painter.parameters(), 1e-3)
    losses = []
    for step in range(12):
        moved = Shift(step % STRIDE, 3), torch.zeros_like(photos)
        painted = painter(photos, STYLE)
        loss = measure_flicker(painter, photos, STYLE, painted, moved).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
