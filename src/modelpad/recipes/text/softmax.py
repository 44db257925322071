"""The loss of next-token prediction without ever holding the logits of all positions.

The linear layer and the cross-entropy are computed together in blocks of rows, forwards and
backwards at once, as in Liger Kernel (Hsu et al. 2024). A sampled vocabulary makes it cheaper: each
token takes part with a known probability and is weighted by its inverse (Horvitz & Thompson 1952),
so that the softmax's denominator stays unbiased.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Of the size of a sample: PyTorch's CPU products keep megabytes for each of the last 1,024 shapes.
MULTIPLE = 256
ROWS = {"cpu": 512, "cuda": 8192}
LEAST = 1e-38  # chance whose logarithm is taken
SMOOTHING = 0.75  # exponent of token frequencies for sampling, as in word2vec


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    correction: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The mean cross-entropy of softmax(hidden @ weight.T + bias), in nats, a float32 scalar.

    `hidden` (N, E), `weight` (V, E), `bias` (V,), `targets` int64 (N,). `correction` (V,) is added
    to the logits of all tokens but a row's own target. Matrix products are computed in `dtype`.
    """
    loss: Tensor = _FusedLoss.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, targets, correction, dtype
    )
    return loss


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[no-untyped-def]
        ctx,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        correction: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        count = len(hidden)
        rows = ROWS.get(hidden.device.type, ROWS["cuda"])
        small, narrow = weight.to(dtype), hidden.to(dtype)
        grad_hidden = torch.empty_like(narrow)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        grad_bias = torch.zeros_like(bias, dtype=torch.float32)
        total = torch.zeros((), device=hidden.device)
        added = (bias if correction is None else bias + correction).float()
        for start in range(0, count, rows):
            part = slice(start, start + rows)
            index = targets[part, None]
            products = narrow[part] @ small.T
            logits = products + added
            if correction is not None:
                logits.scatter_(1, index, products.gather(1, index) + bias[index])
            chances = logits.softmax(dim=1)
            right = chances.gather(1, index)
            total -= right.clamp(min=LEAST).log().sum()
            chances.scatter_(1, index, right - 1)
            grad_bias += chances.sum(dim=0)
            chances = chances.to(dtype)
            grad_hidden[part] = chances @ small
            grad_weight += chances.T @ narrow[part]
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.kept = hidden.dtype, weight.dtype, count
        return total / count

    @staticmethod
    def backward(ctx, *grads: Tensor):  # type: ignore[no-untyped-def]
        grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        wide, kind, count = ctx.kept
        scale = grads[0] / count
        return (
            (grad_hidden.to(wide) * scale),
            (grad_weight * scale).to(kind),
            grad_bias * scale,
            None,
            None,
            None,
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """Part of a vocabulary: `tokens` int64 (S,), and what is added to their logits (S,).

    A token that is there only as some row's target has minus infinity, so that it counts for that
    row alone. `places` int64 are the targets' positions in `tokens`, in the targets' shape.
    """

    tokens: Tensor
    correction: Tensor
    places: Tensor


class Sampler:
    """Draws about `size` tokens, each on its own, frequent ones with a higher probability."""

    def __init__(self, counts: Tensor, size: int) -> None:
        """`counts` (V,): how often each token occurs in the training text."""
        weights = (counts.double() + 1) ** SMOOTHING
        self.chances = spread_chances(weights, size).float()

    def draw(self, targets: Tensor, generator: torch.Generator) -> Sample:
        """Tokens for one step, `targets` of any shape included."""
        chances = self.chances
        drawn = torch.rand(len(chances), generator=generator) < chances
        wanted = torch.zeros_like(drawn)
        wanted[targets] = True
        tokens = torch.nonzero(drawn | wanted).squeeze(1)
        never = torch.full((), -torch.inf)
        correction = torch.where(drawn[tokens], -chances[tokens].log(), never)
        places = torch.empty(len(chances), dtype=torch.int64)
        places[tokens] = torch.arange(len(tokens))
        missing = -len(tokens) % MULTIPLE  # filled with a token that counts for no row
        tokens = torch.cat([tokens, tokens[:1].expand(missing)])
        correction = torch.cat([correction, never.expand(missing)])
        return Sample(tokens, correction, places[targets])


def spread_chances(weights: Tensor, size: int) -> Tensor:
    """Probabilities proportional to `weights` (V,) but at most 1, that add up to `size`."""
    if size >= len(weights):
        return torch.ones_like(weights)
    chances = torch.zeros_like(weights)
    certain = torch.zeros_like(weights, dtype=torch.bool)
    while True:
        left = size - int(certain.sum())
        chances = weights * left / weights[~certain].sum()
        chances[certain] = 1.0
        more = (chances > 1) & ~certain
        if not more.any():
            return chances
        certain |= more
