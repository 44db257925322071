"""Recurrent networks that read tokens and carry explicit states.

`mingru`: residual blocks with a linear recurrence, whose gates depend on the input alone (Feng et
al. 2024, "Were RNNs all we needed?"; Bradbury et al. 2017, QRNN), and whose input is mixed with the
one before (Peng et al. 2023, RWKV). `lstm`: the AWD-LSTM of Merity et al. 2018, with dropped
recurrent weights. All tensors are time-major, (T, B, ...).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from modelpad.recipes.text.gated import BlockWeights, apply_block

ArchitectureName = Literal["mingru", "lstm"]
States = list[Tensor]

SHORTEST, LONGEST = 1.0, 500.0  # how many tokens the channels of a block remember at first


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of an encoder. Tokens are embedded in `embedding` numbers, tied with the output."""

    arch: ArchitectureName = "mingru"
    vocabulary: int = 8192
    embedding: int = 320
    width: int = 512
    blocks: int = 3

    def to_dict(self) -> dict[str, str | int]:
        """For checkpoints and manifests."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Dropouts:
    """Probabilities of dropout: whole tokens, inputs, between blocks, recurrent weights.

    Random numbers come from `generator`, or from PyTorch's own.
    """

    tokens: float = 0.0
    inputs: float = 0.0
    hidden: float = 0.0
    weights: float = 0.0
    generator: torch.Generator | None = None

    def scaled(self, factor: float, generator: torch.Generator | None = None) -> Dropouts:
        """All of them multiplied."""
        return Dropouts(
            tokens=factor * self.tokens,
            inputs=factor * self.inputs,
            hidden=factor * self.hidden,
            weights=factor * self.weights,
            generator=generator,
        )

    def draw_mask(self, like: Tensor, chance: float) -> Tensor | None:
        """Zeros with that probability, and elsewhere a little more than 1; None if it is 0."""
        if not chance:
            return None
        kept = torch.empty_like(like).bernoulli_(1 - chance, generator=self.generator)
        return kept.div_(1 - chance)

    def drop(self, values: Tensor, chance: float) -> Tensor:
        """Values, some of them zero with that probability and the others larger."""
        mask = self.draw_mask(values, chance)
        return values if mask is None else values * mask

    def drop_locked(self, values: Tensor, chance: float) -> Tensor:
        """Drops the same channels at all steps of sequences (T, B, D)."""
        mask = self.draw_mask(values[:1], chance)
        return values if mask is None else values * mask


AWD = Dropouts(tokens=0.1, inputs=0.25, hidden=0.25, weights=0.3)
"""In the proportions of Howard & Ruder 2018; each training scales them."""


class GatedBlock(nn.Module):
    """One residual block; its states are the hidden state and the last normalised input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, bias=False)
        self.mix = nn.Parameter(torch.linspace(0, 1, width))
        self.gates = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width, bias=False)
        with torch.no_grad():
            spans = torch.logspace(math.log10(SHORTEST), math.log10(LONGEST), width)
            keep = spans / (1 + spans)
            self.gates.bias.zero_()
            self.gates.bias[width : 2 * width] = torch.logit(keep)
            self.merge.weight.mul_(0.5)

    def forward(
        self, values: Tensor, states: Sequence[Tensor], keep: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The values (T, B, D) and both states after them, each (B, D).

        `keep` (T, B, 1) is 0 where a text starts, and nothing of what came before may remain.
        `mask` (1, B, D) drops channels of what the block adds.
        """
        gates, (hidden, last) = self.gates, states
        weights = BlockWeights(
            self.norm.weight, self.mix, gates.weight, gates.bias, self.merge.weight
        )
        return apply_block(weights, values, hidden, last, keep, mask)


class GatedLayers(nn.Module):
    """Blocks with a residual stream; two states each."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.enter = nn.Linear(shape.embedding, shape.width, bias=False)
        self.blocks = nn.ModuleList(GatedBlock(shape.width) for _ in range(shape.blocks))
        self.state_sizes = [shape.width] * (2 * shape.blocks)

    def forward(
        self, values: Tensor, states: States, keep: Tensor | None, drop: Dropouts
    ) -> tuple[Tensor, States]:
        """The values (T, B, D) of embedded tokens (T, B, E), and the states after them."""
        values = drop.drop_locked(self.enter(values).float(), drop.inputs)
        after: States = []
        for number, block in enumerate(self.blocks):
            mask = drop.draw_mask(values[:1], drop.hidden)
            values, *new = block(values, states[2 * number : 2 * number + 2], keep, mask)
            after += new
        return values, after


class LstmLayers(nn.Module):
    """Stacked LSTMs; two states each, hidden and cell. They must learn where a text starts."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        sides = [shape.embedding, *[shape.width] * shape.blocks]
        self.blocks = nn.ModuleList(nn.LSTM(into, out) for into, out in pairwise(sides))
        self.state_sizes = [shape.width] * (2 * shape.blocks)

    def forward(
        self, values: Tensor, states: States, keep: Tensor | None, drop: Dropouts
    ) -> tuple[Tensor, States]:
        """The values (T, B, D) of embedded tokens (T, B, E), and the states after them."""
        after: States = []
        values = drop.drop_locked(values, drop.inputs)
        for number, block in enumerate(self.blocks):
            if number:
                values = drop.drop_locked(values, drop.hidden)
            weights: dict[str, Tensor] = dict(block.named_parameters())
            recurrent = weights["weight_hh_l0"]
            weights["weight_hh_l0"] = drop.drop(recurrent, drop.weights)
            hidden, cell = (each[None].contiguous() for each in states[2 * number : 2 * number + 2])
            values, (hidden, cell) = torch.func.functional_call(
                block, weights, (values, (hidden, cell))
            )
            after += [hidden[0], cell[0]]
        return values, after


class Encoder(nn.Module):
    """Tokens in, a normalised hidden vector for each out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.embedding)
        nn.init.normal_(self.embedding.weight, std=shape.embedding**-0.5)
        self.layers = (GatedLayers if shape.arch == "mingru" else LstmLayers)(shape)
        self.norm = nn.LayerNorm(shape.width, bias=False)

    def start(self, count: int) -> States:
        """The states of `count` texts before their first token: zeros."""
        device = self.embedding.weight.device
        return [torch.zeros(count, size, device=device) for size in self.layers.state_sizes]

    def forward(
        self,
        tokens: Tensor,
        states: States,
        keep: Tensor | None = None,
        drop: Dropouts | None = None,
    ) -> tuple[Tensor, States]:
        """Hidden vectors (T, B, D), float32, of tokens int64 (T, B), and the states after them."""
        drop = drop or Dropouts()
        weight = self.embedding.weight
        embedded = functional.embedding(tokens, weight)
        mask = drop.draw_mask(weight[:, :1], drop.tokens)  # of whole tokens (Gal 2016)
        if mask is not None:
            embedded = embedded * mask[tokens]
        values, after = self.layers(embedded * self.shape.embedding**0.5, states, keep, drop)
        return self.norm(values.float()), after


class LanguageModel(nn.Module):
    """An encoder whose hidden vectors predict the next token, by the tied embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.encoder = Encoder(shape)
        self.leave = nn.Linear(shape.width, shape.embedding, bias=False)
        self.bias = nn.Parameter(torch.zeros(shape.vocabulary))

    def forward(
        self,
        tokens: Tensor,
        states: States,
        keep: Tensor | None = None,
        drop: Dropouts | None = None,
    ) -> tuple[Tensor, States]:
        """What the output layer takes, (T, B, E), and the states after the tokens."""
        hidden, after = self.encoder(tokens, states, keep, drop)
        if drop is not None:
            hidden = drop.drop_locked(hidden, drop.hidden)
        return self.leave(hidden), after

    def logits(self, left: Tensor) -> Tensor:
        """The logits (..., V) of what `forward` returns."""
        return functional.linear(left.float(), self.encoder.embedding.weight, self.bias)


class Classifier(nn.Module):
    """An encoder whose hidden vectors are pooled: last, largest and mean (Howard & Ruder 2018)."""

    def __init__(self, shape: Shape, classes: int, hidden: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(shape)
        self.first = nn.Linear(3 * shape.width, hidden)
        self.second = nn.Linear(hidden, classes)

    def forward(
        self, tokens: Tensor, lengths: Tensor, drop: Dropouts | None = None, head: float = 0.0
    ) -> Tensor:
        """Logits (B, C) of whole texts: tokens (T, B), padded on the right to the longest.

        `head` is the probability of dropout above the encoder.
        """
        drop = drop or Dropouts()
        inner = drop.drop(self.pool(tokens, lengths, drop), head)
        inner = functional.relu(self.first(inner).float())
        logits: Tensor = self.second(drop.drop(inner, head / 2))
        return logits.float()

    def pool(self, tokens: Tensor, lengths: Tensor, drop: Dropouts | None = None) -> Tensor:
        """The pooled hidden vectors (B, 3 D) of the same."""
        hidden, _ = self.encoder(tokens, self.encoder.start(tokens.shape[1]), None, drop)
        return pool(hidden, lengths)


def pool(hidden: Tensor, lengths: Tensor) -> Tensor:
    """The last, largest (at least 0) and mean hidden vectors (T, B, D) as one vector (B, 3 D)."""
    steps = torch.arange(len(hidden), device=hidden.device)
    inside = (steps[:, None] < lengths)[..., None]
    last = hidden[lengths - 1, torch.arange(len(lengths), device=hidden.device)]
    largest = hidden.masked_fill(~inside, 0.0).amax(dim=0).clamp(min=0)
    mean = (hidden * inside).sum(dim=0) / lengths[:, None]
    return torch.cat([last, largest, mean], dim=1)
