"""Random distortions of a batch of images, drawn from a generator that the caller seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn.functional import affine_grid, grid_sample, interpolate

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""Distorts float32 images (B, H, W) or (B, H, W, C), 0..255."""


def shear_zoom(batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Shears and zooms each image by up to 0.2."""
    zero = torch.zeros(len(batch))
    width, shear, height = (_uniform(len(batch), 0.2, random) for _ in range(3))
    rows = [1 + width, shear, zero, zero, 1 + height, zero]
    return _warp(batch, rows, None)


def affine_elastic(batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Slightly rotates, scales, shears, shifts and bends each image (Simard et al., 2003)."""
    count = len(batch)
    angle = _uniform(count, 0.13, random)
    width, height = 1 + _uniform(count, 0.09, random), 1 + _uniform(count, 0.09, random)
    cosine, sine = angle.cos(), angle.sin()
    rows = [cosine * width, _uniform(count, 0.08, random) - sine * height]
    rows += [_uniform(count, 0.075, random)]
    rows += [sine * width, cosine * height, _uniform(count, 0.075, random)]
    bends = torch.empty(count, 2, 6, 6).normal_(0, 0.018, generator=random)
    return _warp(batch, rows, bends)


def photograph(batch: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Crops, mirrors, slightly rotates and stretches each image; changes light and contrast.

    What comes in from beyond the edges is mirrored.
    """
    count = len(batch)
    zoom = torch.empty(count).uniform_(0.55, 1.0, generator=random).sqrt()
    aspect, angle = _uniform(count, 0.15, random).exp(), _uniform(count, 0.2, random)
    mirror = 1 - 2 * torch.randint(2, (count,), generator=random).float()
    across, down = ((1 - zoom) * _uniform(count, 1.0, random) for _ in range(2))
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    rows = [cosine * aspect * mirror, -sine, across, sine * mirror, cosine / aspect, down]
    moved = _warp(batch, rows, None, beyond="reflection")
    light, contrast = (1 + _uniform(count, 0.2, random).view(-1, 1, 1, 1) for _ in range(2))
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    return ((moved - mean) * contrast + mean * light).clamp(0, 255)


AUGMENTATIONS: Mapping[str, Augment | None] = {
    "none": None,
    "photograph": photograph,
    "shear-zoom": shear_zoom,
    "affine-elastic": affine_elastic,
}


def _uniform(count: int, limit: float, random: torch.Generator) -> torch.Tensor:
    return torch.empty(count).uniform_(-limit, limit, generator=random)


def _warp(
    batch: torch.Tensor,
    rows: list[torch.Tensor],
    bends: torch.Tensor | None,
    beyond: str = "zeros",
) -> torch.Tensor:
    """Applies an affine map (six numbers per image) and a displacement field (B, 2, h, w)."""
    grey = batch.ndim == 3
    planes = batch[:, None] if grey else batch.permute(0, 3, 1, 2)
    count, _, height, width = planes.shape
    matrix = torch.stack(rows, dim=1).view(count, 2, 3)
    grid = affine_grid(matrix, list(planes.shape), align_corners=False)
    if bends is not None:
        field = interpolate(bends, size=(height, width), mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1)
    planes = grid_sample(planes, grid, padding_mode=beyond, align_corners=False)
    return planes[:, 0] if grey else planes.permute(0, 2, 3, 1)
