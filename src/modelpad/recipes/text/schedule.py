"""Learning rates and optimizers of the recipes for text."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

BETAS = (0.9, 0.98)
WARM_UP = 0.1
LOWEST = 1e-2  # of the peak, at the end


def one_cycle(step: int, steps: int, warm_up: float = WARM_UP) -> float:
    """The share of the peak rate at `step` of `steps`: up linearly, down along a cosine.

    Smith 2018, "A disciplined approach to neural network hyper-parameters".
    """
    rising = max(1.0, warm_up * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    done = min(1.0, (step - rising) / max(1.0, steps - rising))
    return LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * done)) / 2


def make_optimizer(
    groups: Iterable[tuple[float, Iterable[nn.Parameter]]], decay: float
) -> torch.optim.Optimizer:
    """AdamW for groups of parameters with a peak rate each; only matrices decay.

    Frozen parameters may be among them. Loshchilov & Hutter 2019.
    """
    described = []
    for rate, parameters in groups:
        every = list(parameters)
        for weights, share in (
            ([each for each in every if each.dim() > 1], decay),
            ([each for each in every if each.dim() <= 1], 0.0),
        ):
            if weights:
                described.append({"params": weights, "peak": rate, "weight_decay": share})
    return torch.optim.AdamW(described, lr=0.0, betas=BETAS, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Sets each group's rate to that share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = share * group["peak"]
