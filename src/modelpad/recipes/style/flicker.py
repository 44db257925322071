"""How much a painted picture changes when the camera moves by a few pixels.

Strides, and what lies at the borders, make a network paint the same place differently in each frame
of a video: it shimmers. Here two views of one photograph stand for two frames: the second is
shifted, and noisy like another frame of the same camera. Both paintings should agree where they
overlap (the short-term loss of Ruder, Dosovitskiy & Brox, 2016, "Artistic style transfer for
videos", with the optical flow of a moved camera, which is known exactly).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from modelpad.recipes.style.network import STRIDE, Painter

NOISE = 2.0  # standard deviation between two frames, in levels of 255
MARGIN = 16  # pixels at the borders, which padding changes
LEVELS = 255.0


@dataclass(frozen=True, slots=True)
class Shift:
    """By how many pixels the second view is further down and right: each 0 to STRIDE - 1."""

    down: int
    right: int

    def view(self, pictures: torch.Tensor) -> torch.Tensor:
        """The second view of pictures (N, 3, H, W): one stride less of each side."""
        height, width = pictures.shape[2] - STRIDE, pictures.shape[3] - STRIDE
        return pictures[:, :, self.down :, self.right :][:, :, :height, :width]


def draw_shift(draw: np.random.Generator) -> Shift:
    """A random shift."""
    down, right = draw.integers(0, STRIDE, 2).tolist()
    return Shift(down, right)


def draw_noise(draw: np.random.Generator, photos: torch.Tensor) -> torch.Tensor:
    """What another frame of the same camera would add to photographs (N, 3, H, W)."""
    noise = draw.standard_normal(photos.shape, np.float32) * np.float32(NOISE)
    return torch.from_numpy(noise).to(photos)


def measure_flicker(
    painter: Painter,
    photos: torch.Tensor,
    style: torch.Tensor,
    painted: torch.Tensor,
    moved: tuple[Shift, torch.Tensor],
) -> torch.Tensor:
    """The mean squared difference of both paintings, as a share of the range (N,).

    `photos` (N, 3, H, W) in the styles (N, S) gave `painted`; `moved` is the shift of the second
    view and the noise added to it (N, 3, H, W).
    """
    shift, noise = moved
    second = painter(shift.view(photos + noise), style)
    difference = cut(second.float() - shift.view(painted).float())
    return (difference / LEVELS).square().mean(dim=(1, 2, 3))


def cut(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (N, 3, H, W) without their margins."""
    return pictures[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
