"""Chooses the next token of a text from its logits.

In this order: logit bias, penalties, temperature, top-k, top-p, min-p. The tokens of many texts are
chosen together, but each text has a generator of random numbers of its own and nothing is computed
across rows, so that the same seed gives the same text whatever else is in the batch.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Banned = Sequence[int] | NDArray[np.intp]

# Tokens are sorted only down to such a fraction of the likeliest one's probability, the first that
# is low enough.
FRACTIONS = (1e-2, 1e-3, 1e-4, 1e-6)
BLOCK = 128
MAX_TEMPERATURE = 100.0
MIN_TEMPERATURE = 1e-4  # below it, the likeliest token is taken
MAX_PENALTY = 100.0


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How tokens are chosen.

    At temperature 0 the likeliest token is. `top_k` keeps the k likeliest tokens (0: all), `top_p`
    the likeliest ones that together have that probability (https://arxiv.org/abs/1904.09751),
    `min_p` those with at least that share of the likeliest one's (https://arxiv.org/abs/2407.01082).

    `repetition_penalty` divides positive logits of tokens in the prompt or the text, and multiplies
    negative ones (https://arxiv.org/abs/1909.05858). `frequency_penalty` is subtracted for each
    time a token is in the text, `presence_penalty` once if it is, both as in OpenAI's API.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None

    def __post_init__(self) -> None:
        bounds = (
            ("temperature", 0.0, MAX_TEMPERATURE),
            ("top_k", 0, 1 << 31),
            ("top_p", 0.0, 1.0),
            ("min_p", 0.0, 1.0),
            ("repetition_penalty", 0.01, MAX_PENALTY),
            ("frequency_penalty", -MAX_PENALTY, MAX_PENALTY),
            ("presence_penalty", -MAX_PENALTY, MAX_PENALTY),
        )
        for name, low, high in bounds:
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low:g} to {high:g}")

    @property
    def penalizes(self) -> bool:
        """Whether tokens in the text change its logits."""
        return (
            self.repetition_penalty != 1
            or self.frequency_penalty != 0
            or self.presence_penalty != 0
        )


class Sampler:
    """How the tokens of one text are chosen, and what was chosen before."""

    __slots__ = ("_counts", "_options", "_prompt", "_random", "_scale", "filters", "is_greedy")

    def __init__(
        self, options: SamplingOptions, prompt: Iterable[int] = (), index: int = 0
    ) -> None:
        """`index` is the text's number among several for the same prompt and seed."""
        self._options = options
        seed = options.seed
        self._random = random.Random() if seed is None else random.Random(f"{seed} {index}")
        self._counts: Counter[int] = Counter()
        self._prompt = {*prompt} if options.repetition_penalty != 1 else set[int]()
        self.is_greedy = options.temperature < MIN_TEMPERATURE or options.top_k == 1
        self.filters = bool(options.top_k or options.top_p < 1 or options.min_p)
        self._scale = np.float32(1 if self.is_greedy else 1 / options.temperature)

    def choose(self, logits: Floats, banned: Banned = ()) -> int:
        """The next token for logits (vocabulary,); never one of `banned`."""
        return choose_tokens([self], [logits], [banned])[0]

    def adjust(self, logits: Floats, banned: Banned, out: Floats) -> None:
        """Writes the logits with biases and penalties, divided by the temperature."""
        options = self._options
        if options.logit_bias or options.penalizes:
            logits = logits.copy()
            for token, bias in options.logit_bias.items():
                if token < len(logits):
                    logits[token] += bias
            if options.penalizes:
                self._penalize(logits)
        np.multiply(logits, self._scale, out=out)
        if len(banned):
            out[np.asarray(banned)] = -np.inf

    def filter(self, weights: Floats) -> None:
        """Sets the weights of tokens to 0 that the filters do not keep."""
        options = self._options
        tokens = keep_likeliest(weights, options.top_k, options.top_p, options.min_p)
        kept = weights[tokens]
        weights[:] = 0
        weights[tokens] = kept

    def draw_point(self) -> float:
        """The next random number of this text, from 0 to 1."""
        return self._random.random()

    def note(self, token: int) -> None:
        """Remembers what was chosen."""
        if self._options.penalizes:
            self._counts[token] += 1

    def _penalize(self, logits: Floats) -> None:
        options = self._options
        if options.repetition_penalty != 1:
            seen = [token for token in self._prompt | {*self._counts} if token < len(logits)]
            values = logits[seen]
            factor = np.float32(options.repetition_penalty)
            logits[seen] = np.where(values > 0, values / factor, values * factor)
        if self._counts and (options.frequency_penalty or options.presence_penalty):
            tokens = [*self._counts]
            counts = np.array([self._counts[token] for token in tokens], np.float32)
            logits[tokens] -= counts * options.frequency_penalty + options.presence_penalty


def choose_tokens(
    samplers: Sequence[Sampler], logits: Sequence[Floats], banned: Sequence[Banned]
) -> list[int]:
    """The next token of each text, for its logits (vocabulary,); never one that is banned there."""
    size = len(logits[0])
    weights = np.empty((len(samplers), -(-size // BLOCK) * BLOCK), np.float32)
    weights[:, size:] = -np.inf
    for sampler, row, never, out in zip(samplers, logits, banned, weights, strict=True):
        sampler.adjust(row, never, out[:size])
    drawn = [row for row, sampler in enumerate(samplers) if not sampler.is_greedy]
    if len(drawn) == len(samplers):
        tokens = _draw(samplers, weights)
    else:
        tokens = weights.argmax(axis=1).tolist()
        found = _draw([samplers[at] for at in drawn], weights[drawn]) if drawn else []
        for place, token in zip(drawn, found, strict=True):
            tokens[place] = token
    for sampler, token in zip(samplers, tokens, strict=True):
        sampler.note(token)
    return tokens


def _draw(samplers: Sequence[Sampler], weights: Floats) -> list[int]:
    """A token for each row of logits, which are overwritten."""
    weights -= weights.max(axis=1, keepdims=True)
    np.exp(weights, out=weights)
    for sampler, filtered in zip(samplers, weights, strict=True):
        if sampler.filters:
            sampler.filter(filtered)
    points = np.array([sampler.draw_point() for sampler in samplers])
    drawn: list[int] = draw_rows(weights, points).tolist()
    return drawn


def draw_rows(weights: Floats, points: NDArray[np.float64]) -> NDArray[np.intp]:
    """The index in each row at which its share `points`, from 0 to 1, of its weights is reached.

    Never one whose weight is 0. The size of a row is a multiple of `BLOCK`: the block is found
    first, as to add a block up is faster than each partial sum.
    """
    rows = np.arange(len(weights))
    parts = weights.reshape(len(weights), -1, BLOCK)
    totals = np.einsum("rbw->rb", parts)  # a third of the time of a sum
    sums = np.cumsum(totals, axis=1, dtype=np.float64)
    wanted = points * sums[:, -1]
    block = _find_reached(sums, wanted)
    total = totals[rows, block]
    share = (wanted - (sums[rows, block] - total)) / total
    inside = np.cumsum(parts[rows, block], axis=1, dtype=np.float64)
    wanted = np.maximum(share, 0) * inside[:, -1]
    return block * BLOCK + _find_reached(inside, wanted)


def _find_reached(sums: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.intp]:
    """The first place in each row whose sum exceeds what is wanted, which is below the last sum."""
    below = np.minimum(wanted, np.nextafter(sums[:, -1], 0))
    found: NDArray[np.intp] = (sums <= below[:, None]).sum(axis=1)
    return found


def keep_likeliest(weights: Floats, top_k: int, top_p: float, min_p: float) -> NDArray[np.intp]:
    """The tokens that the filters keep, the likeliest first; always at least one.

    Weights are relative to the largest, which is 1. Sorting all of a vocabulary would take longer
    than the model itself, so only as many are sorted as the filters need.
    """
    total = float(weights.sum())
    for fraction in FRACTIONS:
        tokens = np.flatnonzero(weights >= max(fraction, min_p))
        kept = weights[tokens]
        enough_k = 0 < top_k <= len(tokens)
        enough_p = top_p < 1 and not top_k and float(kept.sum()) >= top_p * total
        if enough_k or enough_p or (min_p >= fraction and not (top_k and top_p < 1)):
            break
    else:
        tokens = np.arange(len(weights))
        kept = weights
    order = np.argsort(-kept, kind="stable")
    if top_k:
        order = order[:top_k]
    kept = kept[order]
    if top_p < 1:
        whole = kept.sum(dtype=np.float64) if top_k else total
        sums = np.cumsum(kept, dtype=np.float64)
        order = order[: int(np.searchsorted(sums, top_p * whole, side="left")) + 1]
    found = tokens[order]
    if min_p:
        found = found[weights[found] >= min_p]
    return found if len(found) else tokens[order[:1]]


def log_softmax(logits: Floats) -> Floats:
    """Log probabilities along the last axis, in float32."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    sums: NDArray[np.float64] = np.exp(shifted).sum(axis=-1, keepdims=True, dtype=np.float64)
    logs: Floats = (shifted - np.log(sums)).astype(np.float32)
    return logs
