"""How a painted picture and its photograph are combined: strength and colours."""

from __future__ import annotations

import torch

LUMA = (0.299, 0.587, 0.114)  # of RGB, by ITU-R BT.601


def blend(
    painted: torch.Tensor,
    photo: torch.Tensor,
    strength: torch.Tensor,
    preserve_colour: torch.Tensor,
) -> torch.Tensor:
    """Painted pictures and their photographs (N, 3, H, W) as one picture each.

    `strength` (N,) is the share of the painting, and `preserve_colour` (N,) how far that has the
    photograph's colours: with 1, only the brightness comes from the painting (Gatys et al., 2016,
    "Preserving color in neural artistic style transfer", section 3.2).
    """
    keep = preserve_colour[:, None, None]
    unchanged, grey = torch.eye(3).to(photo), torch.tensor([LUMA] * 3).to(photo)
    change = strength[:, None, None] * (unchanged * (1 - keep) + grey * keep)  # (N, 3, 3)
    return photo + (change @ (painted - photo).flatten(2)).reshape(photo.shape)
