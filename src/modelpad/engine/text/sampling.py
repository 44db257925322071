"""Chooses the next token of a text from its logits.

In this order: logit bias, penalties, temperature, top-k, top-p, min-p. Each text has a generator of
random numbers of its own and nothing is computed across rows, so that the same seed gives the same
text whatever else is in the batch.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Tokens are sorted only down to such a fraction of the likeliest one's probability, the first that
# is low enough.
FRACTIONS = (1e-2, 1e-3, 1e-4, 1e-6)
BLOCK, MIN_BLOCKS = 128, 8
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
    """Chooses the tokens of one text."""

    __slots__ = ("_bias", "_counts", "_options", "_prompt", "_random")

    def __init__(
        self, options: SamplingOptions, prompt: Iterable[int] = (), index: int = 0
    ) -> None:
        """`index` is the text's number among several for the same prompt and seed."""
        self._options = options
        seed = options.seed
        self._random = random.Random() if seed is None else random.Random(f"{seed} {index}")
        self._counts: Counter[int] = Counter()
        self._prompt = {*prompt} if options.repetition_penalty != 1 else set[int]()
        self._bias = options.logit_bias

    def choose(self, logits: Floats, banned: Sequence[int] = ()) -> int:
        """The next token for logits (vocabulary,); never one of `banned`."""
        options = self._options
        if self._bias or options.penalizes or banned:
            logits = self._adjust(logits, banned)
        if options.temperature < MIN_TEMPERATURE or options.top_k == 1:
            token = int(logits.argmax())
        else:
            token = self._draw(logits)
        if options.penalizes:
            self._counts[token] += 1
        return token

    def _adjust(self, logits: Floats, banned: Sequence[int]) -> Floats:
        options = self._options
        logits = logits.copy()
        for token, bias in self._bias.items():
            if token < len(logits):
                logits[token] += bias
        if options.penalizes:
            self._penalize(logits)
        for token in banned:
            if token < len(logits):
                logits[token] = -np.inf
        return logits

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

    def _draw(self, logits: Floats) -> int:
        options = self._options
        weights = logits * np.float32(1 / options.temperature)
        weights -= weights.max()
        np.exp(weights, out=weights)
        if not (options.top_k or options.top_p < 1 or options.min_p):
            return draw(weights, self._random.random())
        tokens = keep_likeliest(weights, options.top_k, options.top_p, options.min_p)
        return int(tokens[draw(weights[tokens], self._random.random())])


def draw(weights: Floats, point: float) -> int:
    """The index at which the share `point`, from 0 to 1, of all weights is reached.

    Of many weights, the block is found first: to add a block up is faster than each partial sum.
    """
    whole = len(weights) // BLOCK * BLOCK
    if whole < MIN_BLOCKS * BLOCK:
        return _find_share(np.cumsum(weights, dtype=np.float64), point)
    blocks = weights[:whole].reshape(-1, BLOCK).sum(axis=1, dtype=np.float64)
    sums = np.cumsum(np.append(blocks, weights[whole:].sum(dtype=np.float64)))
    wanted = point * sums[-1]
    block = min(int(np.searchsorted(sums, wanted, side="right")), len(blocks))
    start = block * BLOCK
    before = float(sums[block - 1]) if block else 0.0
    inner = before + np.cumsum(weights[start : start + BLOCK], dtype=np.float64)
    if not len(inner):
        return len(weights) - 1
    return start + min(int(np.searchsorted(inner, wanted, side="right")), len(inner) - 1)


def _find_share(sums: NDArray[np.float64], point: float) -> int:
    return min(int(np.searchsorted(sums, point * sums[-1], side="right")), len(sums) - 1)


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
