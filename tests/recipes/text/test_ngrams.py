"""The n-gram baseline: equal to its definition, and a distribution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from modelpad.recipes.text.ngrams import choose_discounts, join_tokens, measure_chances
from modelpad.recipes.text.tokens import START, Corpus, join_parts

VOCABULARY = 12
Gram = tuple[int, ...]


def make_corpus(texts: Sequence[Sequence[int]]) -> Corpus:
    parts = [np.array([START, *text], np.uint16) for text in texts]
    sizes = np.array([len(text) for text in texts], np.int64)
    return join_parts(parts, sizes, sizes)


def draw_texts(count: int, seed: int) -> list[list[int]]:
    """Random texts in which some tokens follow others more often."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(count):
        text = [int(rng.integers(1, VOCABULARY))]
        while rng.random() < 0.9:
            step = int(rng.choice([1, 1, 1, 2, int(rng.integers(VOCABULARY))]))
            text.append((text[-1] + step - 1) % (VOCABULARY - 1) + 1)
        texts.append(text)
    return texts


class Definition:
    """Chen & Goodman's equations, with dictionaries."""

    def __init__(self, texts: Sequence[Sequence[int]], order: int) -> None:
        raw: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
        for text in texts:
            tokens = (START, *text, START)
            for end in range(1, len(tokens)):
                for size in range(1, min(order, end + 1) + 1):
                    raw[size][tokens[end - size + 1 : end + 1]] += 1
        self.counts: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
        self.counts[order] = raw[order]
        for size in range(1, order):
            for gram in raw[size + 1]:
                self.counts[size][gram[1:]] += 1
            if size > 1:
                self.counts[size].update({g: n for g, n in raw[size].items() if g[0] == START})

    def chance(self, context: Gram, token: int) -> float:
        """The probability of a token after a context."""
        lower = self.chance(context[1:], token) if context else 1 / VOCABULARY
        counts = self.counts[len(context) + 1]
        discounts = choose_discounts(np.array([*counts.values()]))
        inside = {gram: n for gram, n in counts.items() if gram[:-1] == context}
        total = sum(inside.values())
        if not total:
            return lower
        own = inside.get((*context, token), 0)
        lost = sum(discounts[min(n, 3)] for n in inside.values())
        return float((own - discounts[min(own, 3)] + lost * lower) / total)


@pytest.mark.parametrize(("order", "count"), [(1, 20), (3, 60), (5, 40)])
def test_probabilities_are_those_of_the_definition(order: int, count: int) -> None:
    texts, unseen = draw_texts(count, 0), draw_texts(6, 1)
    found = measure_chances([make_corpus(texts)], make_corpus(unseen), VOCABULARY, order)
    defined = Definition(texts, order)
    expected = []
    for text in unseen:
        tokens = (START, *text, START)
        for end in range(1, len(tokens)):
            context = tokens[max(0, end - order + 1) : end]
            expected.append(defined.chance(context, tokens[end]))
    assert np.allclose(found, expected)


def test_the_probabilities_after_a_text_add_up_to_one() -> None:
    train = [make_corpus(draw_texts(30, 2)), make_corpus(draw_texts(60, 3))]
    for context in ([], [4], [4, 5, 6], [1, 9, 1, 9, 1, 9]):
        texts: list[list[Any]] = [[*context, token] for token in range(1, VOCABULARY)]
        found = measure_chances(train, make_corpus(texts), VOCABULARY)
        size = len(context) + 2
        after = found[len(context) :: size].sum()
        end = measure_chances(train, make_corpus([context]), VOCABULARY)[-1]
        assert after + end == pytest.approx(1), context


def test_training_texts_are_limited_to_whole_ones() -> None:
    first, second = make_corpus([[1, 2, 3], [4, 5]]), make_corpus([[6], [7, 8, 9]])
    assert join_tokens([first, second], 11).tolist() == [0, 6, 0, 7, 8, 9, 0, 1, 2, 3]
    assert join_tokens([first, second], 4).tolist() == [0, 6]
