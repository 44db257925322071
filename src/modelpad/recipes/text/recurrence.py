"""The linear recurrence h[t] = decay[t] * h[t-1] + drive[t], with its gradient.

On a CPU it is a loop over time; on an accelerator, where every kernel launch counts, chunks are
solved side by side and then joined (a two-level scan: Blelloch 1990, "Prefix sums and their
applications").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def solve(decay: Tensor, drive: Tensor, initial: Tensor, states: Tensor) -> None:
    """Writes all `states` (T, B, D) of `decay` and `drive` (T, B, D) from `initial` (B, D)."""
    if decay.device.type == "cpu":
        solve_stepwise(decay, drive, initial, states)
    else:
        states.copy_(solve_chunked(decay, drive, initial))


def solve_backwards(decay: Tensor, grads: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
    """The whole gradients of the states (T, B, D), and that of the state before them (B, D).

    `grads` are the direct ones, and `later` (B, D) is what reaches the last state from those after.
    """
    if decay.device.type == "cpu":
        for reached, factor in zip(grads.unbind()[::-1], decay.unbind()[::-1], strict=True):
            reached += later
            later = factor * reached
        return grads, later
    return solve_backwards_chunked(decay, grads, later)


def solve_backwards_chunked(decay: Tensor, grads: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
    """As `solve_backwards`, with `solve_chunked`."""
    grads[-1] += later
    after = torch.cat([decay[1:], torch.zeros_like(decay[:1])])
    grads = solve_chunked(after.flip(0), grads.flip(0), torch.zeros_like(later)).flip(0)
    return grads, decay[0] * grads[0]


def solve_stepwise(decay: Tensor, drive: Tensor, initial: Tensor, states: Tensor) -> None:
    """One multiplication and addition for each step."""
    before = initial
    for now, factor, added in zip(states, decay, drive, strict=True):
        torch.addcmul(added, factor, before, out=now)
        before = now


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
