"""What an n-gram model makes of texts: the baseline of language models.

Interpolated, with modified Kneser-Ney smoothing (Chen & Goodman 1998, section 3), like KenLM's. The
orders are counted one after the other and only two are in memory at a time, as the probabilities of
the test texts grow with each. An n-gram is numbered among those of its order, and found by the
number of what comes before its last token: no key is longer than 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelpad.recipes.text.tokens import START, Corpus

ORDER = 5
TOKEN_BITS = np.uint64(16)
MAX_TOKENS = 32_000_000  # of the training texts: about 50 bytes of memory each
STRIDE = 1 << 20  # test tokens that are looked up at once
LEAST = 0.1  # discount, so that nothing is impossible

Integers = NDArray[np.int64]
Chances = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Stream:
    """Texts one after the other, with a start token before each and at the very end.

    `depth` (N,) says how many tokens there are before each in its text, its start token included.
    """

    tokens: NDArray[np.uint16]
    depth: NDArray[np.int32]

    @classmethod
    def of(cls, tokens: NDArray[np.uint16]) -> _Stream:
        whole = np.append(tokens, np.uint16(START))
        places = np.arange(len(whole), dtype=np.int32)
        starts = np.where(whole == START, places, 0)
        last = np.maximum.accumulate(starts)
        depth = np.zeros_like(places)
        depth[1:] = places[1:] - last[:-1]
        return cls(whole, depth)

    def ends(self, order: int) -> Integers:
        """Where n-grams of this order end: no text begins within one."""
        return np.flatnonzero(self.depth >= max(1, order - 1))


@dataclass(frozen=True, slots=True)
class _Level:
    """The n-grams of one order: sorted `keys` uint64 (U,), how often each occurs (U,), and whether
    it begins a text (U,). `numbers` int32 (N,) has the n-gram that ends at each token, or -1."""

    keys: NDArray[np.uint64]
    counts: Integers
    begins: NDArray[np.bool_]
    numbers: NDArray[np.int32]


def measure_chances(
    train: Sequence[Corpus], test: Corpus, vocabulary: int, order: int = ORDER
) -> Chances:
    """The probability of each token of the test texts but their start, and of each text's end (N,).

    A text is predicted from its start token on, at most `order - 1` tokens back.
    """
    stream = _Stream.of(join_tokens(train))
    unseen = _Stream.of(test.tokens)
    level = _count_tokens(stream, vocabulary)
    chances = np.full(len(unseen.tokens), 1 / vocabulary)
    before: NDArray[np.int32] = np.zeros(len(unseen.tokens), np.int32)  # contexts: one for all
    contexts = 1
    for size in range(1, order + 1):
        following, seen = (None, level.counts) if size == order else _extend(level, stream, size)
        if following is not None and size > 1:
            seen = np.where(level.begins, level.counts, seen)
        found = _look_up(level, before, unseen, size)
        owners = level.keys >> TOKEN_BITS if size > 1 else np.zeros(len(seen), np.uint64)
        _interpolate(chances, seen, owners.astype(np.int64), contexts, before, found)
        before = np.append(np.int32(-1), found[:-1]).astype(np.int32)
        contexts = len(seen)
        if following is not None:
            level = following
    return chances[1:]


def join_tokens(corpora: Sequence[Corpus], most: int = MAX_TOKENS) -> NDArray[np.uint16]:
    """The tokens of all texts, as many whole ones as there is room for, the last corpus first."""
    parts, left = [], most
    for corpus in reversed(corpora):
        kept = int(np.searchsorted(corpus.offsets, left, side="right")) - 1
        parts.append(corpus.tokens[: corpus.offsets[kept]])
        left -= len(parts[-1])
    return np.concatenate(parts)


def _count_tokens(stream: _Stream, vocabulary: int) -> _Level:
    counts = np.bincount(stream.tokens[1:], minlength=vocabulary).astype(np.int64)
    keys = np.arange(vocabulary, dtype=np.uint64)
    return _Level(keys, counts, keys == START, stream.tokens.astype(np.int32))


def _extend(level: _Level, stream: _Stream, size: int) -> tuple[_Level, Integers]:
    """The n-grams with one more token, and before how many of these each shorter one occurs."""
    ends = stream.ends(size + 1)
    keys = _make_keys(level.numbers[ends - 1], stream.tokens[ends])
    order = np.argsort(keys)
    keys = keys[order]
    first = np.append(True, keys[1:] != keys[:-1])
    numbers = np.full(len(stream.tokens), -1, np.int32)
    numbers[ends[order]] = np.cumsum(first, dtype=np.int32) - 1
    places = np.flatnonzero(first)
    shorter = level.numbers[ends[order[places]]]
    distinct = np.bincount(shorter, minlength=len(level.keys)).astype(np.int64)
    unique = keys[places]
    counts = np.diff(np.append(places, len(keys))).astype(np.int64)
    begins = level.begins[(unique >> TOKEN_BITS).astype(np.int64)]
    return _Level(unique, counts, begins, numbers), distinct


def _make_keys(contexts: NDArray[np.int32], tokens: NDArray[np.uint16]) -> NDArray[np.uint64]:
    keys = contexts.astype(np.uint64) << TOKEN_BITS | tokens.astype(np.uint64)
    return keys.astype(np.uint64, copy=False)


def _look_up(
    level: _Level, before: NDArray[np.int32], unseen: _Stream, size: int
) -> NDArray[np.int32]:
    """The number of the n-gram that ends at each token; -1 if it is unknown."""
    if size == 1:
        return unseen.tokens.astype(np.int32)
    found = np.full(len(before), -1, np.int32)
    before[unseen.depth < size - 1] = -1
    wanted = np.flatnonzero(before >= 0)
    for start in range(0, len(wanted), STRIDE):
        part = wanted[start : start + STRIDE]
        keys = _make_keys(before[part], unseen.tokens[part])
        places = np.minimum(np.searchsorted(level.keys, keys), len(level.keys) - 1)
        found[part] = np.where(level.keys[places] == keys, places, -1)
    return found


def _interpolate(
    chances: Chances,
    seen: Integers,
    owners: Integers,
    contexts: int,
    before: NDArray[np.int32],
    found: NDArray[np.int32],
) -> None:
    """Replaces the chances of a lower order, where the context `before` a token is known.

    `seen` (U,) are the counts of n-grams, `owners` (U,) the contexts that they belong to.
    """
    discounts = choose_discounts(seen)
    lost = discounts[np.minimum(seen, 3)]
    total = np.bincount(owners, seen, contexts)
    share = np.bincount(owners, lost, contexts) / np.maximum(total, 1)
    known = np.flatnonzero((before >= 0) & (total[before] > 0))
    own, number = before[known], found[known]
    kept = np.where(number >= 0, (seen - lost)[number], 0.0)
    chances[known] = kept / total[own] + share[own] * chances[known]


def choose_discounts(seen: Integers) -> Chances:
    """What is taken from counts of 0, 1, 2, and 3 or more (4,), to give to what was not seen."""
    n1, n2, n3, n4 = (int(np.count_nonzero(seen == count)) for count in (1, 2, 3, 4))
    if not all((n1, n2, n3, n4)):
        return np.array([0.0, 0.5, 1.0, 1.5])
    base = n1 / (n1 + 2 * n2)
    found = [1 - 2 * base * n2 / n1, 2 - 3 * base * n3 / n2, 3 - 4 * base * n4 / n3]
    return np.array([0.0, *np.clip(found, LEAST, (1, 2, 3))])
