"""What single tokens, pairs and triples of them say about a text's class, beside an encoder.

A logistic regression on n-grams with naive-Bayes weights (Wang & Manning 2012) errs on other texts
than a recurrent network does, so that both together judge better than either (Mesnil et al. 2015).
A text's score is the sum of its n-grams' weights over the square root of its length (see
`measure_lengths`), so that it can be read piece by piece. A hash table holds the most telling pairs
and triples; a tag in each slot tells them from others with the same place, most of which were never
learnt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelpad.recipes.text.bag import fit_sides, list_sides
from modelpad.recipes.text.labelled import Labelled
from modelpad.recipes.text.tokens import Corpus

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FACTOR, MODULUS = 1_103_515_245, (1 << 31) - 1  # of the keys
TAGS = 255  # kinds of tags; 0 is an empty slot
SLOTS, LEAST_SLOTS, CELLS = 1 << 18, 1 << 10, 1 << 20  # cells: slots times columns
FILLED = 0.75  # of the slots, if no two phrases had the same
RARE = 2  # a phrase in fewer texts is left out
PENALTY = 0.01  # on large weights
LONG = 4096  # tokens; of longer texts, the mean counts, so that a score has bounds
MOST_TOKENS = 10_000_000  # that are learnt from

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Phrases:
    """Weights of tokens and phrases: `weights` (V + M, K) for V tokens, then M slots.

    `tags` uint8 (M,). The logits of C classes are (sum / `measure_lengths` + `bias`) @ `mix`, with
    `bias` (K,) and `mix` (K, C): K is 1 for two classes.
    """

    tags: NDArray[np.uint8]
    weights: Floats
    bias: Floats
    mix: Floats

    @property
    def vocabulary(self) -> int:
        """The number of tokens, V."""
        return len(self.weights) - len(self.tags)

    @property
    def count(self) -> int:
        """How many pairs and triples there are."""
        return int(np.count_nonzero(self.tags))

    def scaled(self, factor: float) -> Phrases:
        """The same with logits multiplied by a factor."""
        return replace(self, mix=(self.mix * factor).astype(np.float32))

    def logits(self, corpus: Corpus) -> Floats:
        """The logits (N, C) of texts."""
        found = count_phrases(corpus, self.tags, self.vocabulary)
        logits: Floats = (found @ self.weights + self.bias) @ self.mix
        return logits


def learn_phrases(texts: Labelled, classes: int, vocabulary: int, seed: int = 0) -> Phrases:
    """Learns from texts, of which each class has at least one: from 10 million tokens at most."""
    texts = limit(texts, seed)
    inside = list_sides(texts.labels, classes)
    slots = min(SLOTS, CELLS // len(inside))
    tags = choose_phrases(texts, inside, slots)
    values = count_phrases(texts.corpus, tags, vocabulary)
    found = values.astype(bool).astype(np.float32)
    weights, biases = fit_sides(found, values, inside, PENALTY, seed)
    mix = np.array([[-0.5, 0.5]]) if classes == 2 else np.eye(classes)
    parts = (weights.T, biases, mix)
    return Phrases(tags, *(each.astype(np.float32) for each in parts))


def limit(texts: Labelled, seed: int) -> Labelled:
    """Texts at random, of at most 10 million tokens."""
    order = np.random.default_rng(seed).permutation(len(texts.labels))
    inside = np.cumsum(texts.corpus.lengths[order]) <= MOST_TOKENS
    if inside.all():
        return texts
    kept = np.sort(order[inside])
    return Labelled(texts.corpus.take(kept), texts.labels[kept])


def choose_phrases(
    texts: Labelled, inside: list[NDArray[np.bool_]], most: int
) -> NDArray[np.uint8]:
    """The tags of at most so many slots, for the most telling phrases.

    `inside` (N,) says which texts are in a class. How telling a phrase is grows with the root of
    the number of its texts and with how unevenly the classes have it. The more telling one of two
    phrases gets a slot that both would have.
    """
    pairs, triples = make_keys(texts.corpus)
    text_of = np.repeat(np.arange(len(texts.labels)), texts.corpus.lengths)
    once = np.unique(np.concatenate([text_of << 31 | keys for keys in (pairs, triples)]))
    keys, place, counts = np.unique(once & MODULUS, return_inverse=True, return_counts=True)
    telling = np.zeros(len(keys))
    for each in inside:
        within = np.bincount(place[each[once >> 31]], minlength=len(keys)) + 1.0
        without = counts + 2.0 - within
        uneven = np.log(within / within.sum()) - np.log(without / without.sum())
        telling = np.maximum(telling, np.abs(uneven) * np.sqrt(counts))
    telling[counts < RARE] = -1
    wanted = int((counts >= RARE).sum())
    slots = int(np.clip(wanted / FILLED, LEAST_SLOTS, most))
    chosen = keys[np.argsort(-telling, kind="stable")[: min(wanted, int(FILLED * slots))]]
    slot, tag = find_slots(chosen, slots)
    _, first = np.unique(slot, return_index=True)
    tags = np.zeros(slots, np.uint8)
    tags[slot[first]] = tag[first]
    return tags


def count_phrases(corpus: Corpus, tags: NDArray[np.uint8], vocabulary: int) -> csr_matrix:
    """The occurrences of tokens and phrases, over `measure_lengths`, (N, V + M)."""
    from scipy.sparse import csr_matrix

    text_of = np.repeat(np.arange(len(corpus)), corpus.lengths)
    rows, columns = [text_of], [corpus.tokens.astype(np.int64)]
    for keys in make_keys(corpus):
        slot, tag = find_slots(keys, len(tags))
        known = tags[slot] == tag
        rows.append(text_of[known])
        columns.append(vocabulary + slot[known])
    places = (np.concatenate(rows), np.concatenate(columns))
    values = (1 / measure_lengths(corpus.lengths)).astype(np.float32)[places[0]]
    return csr_matrix((values, places), (len(corpus), vocabulary + len(tags)))


def measure_lengths(tokens: Integers) -> NDArray[np.float64]:
    """What sums over texts of so many tokens are divided by: the root, or more for long texts."""
    measured: NDArray[np.float64] = np.maximum(np.sqrt(tokens), tokens / LONG**0.5)
    return measured


def make_keys(corpus: Corpus) -> tuple[Integers, Integers]:
    """Numbers for the pair and the triple that end with each token, int64 (N,).

    Two start tokens come before a text.
    """
    place = np.arange(len(corpus.tokens)) - np.repeat(corpus.offsets[:-1], corpus.lengths)
    now = corpus.tokens.astype(np.int64)
    before, earlier = (np.where(place < steps, 0, np.roll(now, steps)) for steps in (1, 2))
    return join(before, now), join(join(earlier, before), now)


def join(before: Integers, now: Integers) -> Integers:
    """The key of a phrase from that of its beginning and its last token; less than 2**31 - 1."""
    return (before * FACTOR + now) % MODULUS


def find_slots(keys: Integers, slots: int) -> tuple[Integers, Integers]:
    """Where each key is in a table of so many slots, and its tag, 1 to 255."""
    return keys % slots, keys // slots % TAGS + 1
