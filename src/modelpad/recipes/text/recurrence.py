"""The linear recurrence h[t] = decay[t] * h[t-1] + drive[t], with its gradient.

On a CPU it is a loop over time; on an accelerator, where every kernel launch counts, chunks are
solved side by side and then joined (a two-level scan: Blelloch 1990, "Prefix sums and their
applications").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def recur(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """All states (T, B, D), float32, of `decay` and `drive` (T, B, D) from `initial` (B, D)."""
    states: Tensor = _Recurrence.apply(  # type: ignore[no-untyped-call]
        decay.float(), drive.float(), initial.float()
    )
    return states


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        states = solve(decay, drive, initial)
        ctx.save_for_backward(decay, states, initial)
        return states

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[no-untyped-def]
        """dL/dh[t] also arrives through h[t+1], so the gradient recurs backwards in time."""
        decay, states, initial = ctx.saved_tensors
        later = torch.cat([decay[1:], torch.zeros_like(decay[:1])])
        nothing = torch.zeros_like(initial)
        reached = solve(later.flip(0), grads[0].flip(0), nothing).flip(0)
        before = torch.cat([initial[None], states[:-1]])
        return reached * before, reached, decay[0] * reached[0]


def solve(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """The states, without a gradient."""
    if decay.device.type == "cpu":
        return solve_stepwise(decay, drive, initial)
    return solve_chunked(decay, drive, initial)


def solve_stepwise(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """One multiplication and addition for each step."""
    states = torch.empty_like(drive)
    before = initial
    for now, factor, added in zip(states, decay, drive, strict=True):
        torch.addcmul(added, factor, before, out=now)
        before = now
    return states


def solve_chunked(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """About sqrt(T) chunks at once from zero, then what each takes over from the one before."""
    steps = len(decay)
    size = max(1, math.isqrt(steps))
    chunks = -(-steps // size)
    missing = chunks * size - steps
    if missing:
        decay = torch.cat([decay, decay.new_ones(missing, *decay.shape[1:])])
        drive = torch.cat([drive, drive.new_zeros(missing, *drive.shape[1:])])
    decay = decay.reshape(chunks, size, *decay.shape[1:])
    drive = drive.reshape(chunks, size, *drive.shape[1:])
    states, products = torch.empty_like(drive), torch.empty_like(decay)
    states[:, 0], products[:, 0] = drive[:, 0], decay[:, 0]
    for step in range(1, size):
        states[:, step] = torch.addcmul(drive[:, step], decay[:, step], states[:, step - 1])
        products[:, step] = decay[:, step] * products[:, step - 1]
    entering = torch.empty_like(states[:, 0])
    entering[0] = initial
    for chunk in range(1, chunks):
        before = chunk - 1
        entering[chunk] = torch.addcmul(states[before, -1], products[before, -1], entering[before])
    states = torch.addcmul(states, products, entering[:, None])
    return states.reshape(chunks * size, *states.shape[2:])[:steps]
