"""A residual block with a linear recurrence, and its gradient, written out.

PyTorch's own gradient would keep each of some thirty intermediate results, in float32. Here a few
are kept, most of them in the type of the matrix products; the others are computed again, for a few
steps at a time, so that they stay in a core's cache. All tensors are time-major, (T, B, D).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import silu

from modelpad.recipes.text.recurrence import solve, solve_backwards

CACHED_ROWS = 256  # of 512 channels: half a megabyte for each tensor
EPSILON = 1e-5  # of the normalisation, as in torch.nn.LayerNorm
native = torch.ops.aten


@dataclass(frozen=True, slots=True)
class BlockWeights:
    """`norm`, `mix` (D,), `gates` (3 D, D) with `bias` (3 D,), and `merge` (D, D)."""

    norm: Tensor
    mix: Tensor
    gates: Tensor
    bias: Tensor
    merge: Tensor


def apply_block(
    weights: BlockWeights,
    values: Tensor,
    hidden: Tensor,
    last: Tensor,
    keep: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The values (T, B, D) after a block, and both of its states (B, D), float32.

    With n = norm(values), mixed with the n before: new, forget, output = gates(n). Then
    h[t] = f * h[t-1] + (1 - f) * new, where f = sigmoid(forget), and the result is
    values + mask * merge(h * silu(output)). `hidden` and `last` are h and n before the first step.
    `keep` (T, B, 1) is 0 where nothing before may count. `mask` (1, B, D) is of dropout. Matrices
    are multiplied in autocast's type.
    """
    found: tuple[Tensor, Tensor, Tensor] = _Block.apply(  # type: ignore[no-untyped-call]
        values,
        hidden,
        last,
        keep,
        mask,
        weights.norm,
        weights.mix,
        weights.gates,
        weights.bias,
        weights.merge,
    )
    return found


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx,
        values: Tensor,
        hidden: Tensor,
        last: Tensor,
        keep: Tensor | None,
        mask: Tensor | None,
        norm: Tensor,
        mix: Tensor,
        gates: Tensor,
        bias: Tensor,
        merge: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        steps, texts, width = values.shape
        dtype = choose_dtype(values)
        gates, bias, merge = gates.to(dtype), bias.to(dtype), merge.to(dtype)
        normal, states = (values.new_empty(steps + 1, texts, width) for _ in range(2))
        mean, scale = (values.new_empty(steps, texts, 1) for _ in range(2))
        mixed, gated = (torch.empty_like(values, dtype=dtype) for _ in range(2))
        normal[0], states[0] = last, hidden
        for now, after in walk(values):
            native.native_layer_norm.out(
                values[now], [width], norm, None, EPSILON,
                out0=normal[after], out1=mean[now], out2=scale[now],
            )  # fmt: skip
            change = _masked(normal[now], keep, now) - normal[after]
            mixed[now] = torch.addcmul(normal[after], mix, change)
        opened = torch.addmm(bias, mixed.flatten(0, 1), gates.T).view(steps, texts, 3 * width)
        new, forget, output = opened.chunk(3, dim=-1)
        for now, after in walk(values):
            share = _widen(forget[now]).sigmoid_()
            drive = _widen(new[now])
            drive.addcmul_(drive, share, value=-1)
            solve(_masked(share, keep, now), drive, states[now][0], states[after])
            gated[now] = silu(output[now].float()) * states[after]
        merged = (gated.flatten(0, 1) @ merge.T).view_as(values)
        result = torch.empty_like(values)
        for now, _ in walk(values):
            added = merged[now].float()
            result[now] = values[now] + (added if mask is None else added * mask)
        ctx.save_for_backward(
            values, keep, mask, norm, mix, gates, merge, normal, mean, scale, mixed, opened, states,
            gated,
        )  # fmt: skip
        return result, states[-1].clone(), normal[-1].clone()

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]
        (
            values, keep, mask, norm, mix, gates, merge, normal, mean, scale, mixed, opened, states,
            gated,
        ) = ctx.saved_tensors  # fmt: skip
        grad_result, reached, later = grads
        grad_merged = torch.empty_like(gated)
        for now, _ in walk(values):
            grad_merged[now] = grad_result[now] if mask is None else grad_result[now] * mask
        rows = grad_merged.flatten(0, 1)
        grad_merge = (rows.T @ gated.flatten(0, 1)).to(torch.float32)
        grad_gated = (rows @ merge).view_as(gated)

        grad_opened, grad_bias = torch.empty_like(opened), torch.zeros_like(norm).repeat(3)
        new, forget, output = opened.chunk(3, dim=-1)
        found = grad_opened.chunk(3, dim=-1)
        sums = grad_bias.chunk(3)
        for now, after in walk(values, backwards=True):
            through = grad_gated[now].float()
            gate = output[now].float()
            passed = gate.sigmoid()
            arrived = gate * passed * through
            slope = torch.addcmul(gate, gate, passed, value=-1).add_(1).mul_(passed)
            share = _widen(forget[now]).sigmoid_()
            decay = _masked(share, keep, now)
            arrived, reached = solve_backwards(decay, arrived, reached)
            rest = 1 - share
            change = _masked(states[now], keep, now) - new[now]
            pieces = (
                arrived * rest,
                change.mul_(arrived).mul_(share).mul_(rest),
                through.mul_(states[after]).mul_(slope),
            )
            for to, total, piece in zip(found, sums, pieces, strict=True):
                to[now] = piece
                total += piece.sum(dim=(0, 1))
        rows = grad_opened.flatten(0, 1)
        grad_gates = (rows.T @ mixed.flatten(0, 1)).to(torch.float32)
        grad_mixed = (rows @ gates).view_as(mixed)

        grad_values = torch.empty_like(values)
        grad_norm, grad_mix = torch.zeros_like(norm), torch.zeros_like(mix)
        for now, after in walk(values, backwards=True):
            own = _widen(grad_mixed[now])
            change = _masked(normal[now], keep, now) - normal[after]
            grad_mix += change.mul_(own).sum(dim=(0, 1))
            earlier = own * mix
            own -= earlier
            earlier = _masked(earlier, keep, now)
            own[:-1] += earlier[1:]
            own[-1] += later
            later = earlier[0]
            grad, more, _ = native.native_layer_norm_backward(
                own, values[now], [len(norm)], mean[now], scale[now], norm, None,
                [True, True, False],
            )  # fmt: skip
            grad_norm += more
            torch.add(grad, grad_result[now], out=grad_values[now])
        return (
            grad_values, reached, later, None, None, grad_norm, grad_mix, grad_gates, grad_bias,
            grad_merge,
        )  # fmt: skip


def choose_dtype(values: Tensor) -> torch.dtype:
    """The type in which autocast multiplies matrices now."""
    device = values.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else values.dtype


def walk(values: Tensor, *, backwards: bool = False) -> Iterator[tuple[slice, slice]]:
    """Some steps at a time, and the same a step later; all at once on an accelerator."""
    steps, texts, _ = values.shape
    size = max(1, CACHED_ROWS // texts) if values.device.type == "cpu" else steps
    starts = range(0, steps, size)
    for start in reversed(starts) if backwards else starts:
        stop = min(start + size, steps)
        yield slice(start, stop), slice(start + 1, stop + 1)


def _masked(values: Tensor, keep: Tensor | None, now: slice) -> Tensor:
    return values if keep is None else values * keep[now]


def _widen(values: Tensor) -> Tensor:
    """A copy in float32."""
    return values.to(torch.float32, copy=True)
