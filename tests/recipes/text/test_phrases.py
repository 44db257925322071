"""Phrases of tokens beside an encoder: learnt, found again, and read piece by piece in a graph."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from modelpad.recipes.reviews.model import weigh_phrases
from modelpad.recipes.text import graph_builder
from modelpad.recipes.text.graph_builder import Precision, quantize_levels
from modelpad.recipes.text.labelled import Labelled
from modelpad.recipes.text.network import Classifier
from modelpad.recipes.text.phrases import (
    Phrases,
    choose_phrases,
    find_slots,
    learn_phrases,
    make_keys,
)
from modelpad.recipes.text.source import ClassifierSource, as_corpus
from modelpad.recipes.text.tokens import Numbers, join_parts
from tests.small_networks import read_all, small

VOCABULARY = 90
TOLERANCES: dict[Precision, float] = {"float32": 1e-5, "int8": 0.05}


def make_texts(count: int = 240, classes: int = 2, seed: int = 0) -> Labelled:
    """Texts of random tokens, whose class is told by the order of some of them alone."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    parts: list[Numbers] = []
    for label in labels.tolist():
        text = rng.integers(10, VOCABULARY, int(rng.integers(6, 20)))
        place = int(rng.integers(2, len(text) - 2))
        turned = 1 + np.roll(np.arange(classes), label)  # every text has all of these tokens
        text[[place, place + 1, 0][:classes]] = turned
        parts.append(np.array([0, *text], np.uint16))
    empty = np.zeros(count, np.int64)
    return Labelled(join_parts(parts, empty, empty), labels)


def judge(phrases: Phrases, texts: Labelled) -> float:
    return float((phrases.logits(texts.corpus).argmax(axis=1) == texts.labels).mean())


@pytest.mark.parametrize("classes", [2, 3])
def test_the_order_of_tokens_is_learnt(classes: int) -> None:
    learned, other = make_texts(600, classes), make_texts(300, classes, seed=1)
    phrases = learn_phrases(learned, classes, VOCABULARY)
    assert phrases.vocabulary == VOCABULARY
    assert phrases.count > 0
    assert phrases.logits(other.corpus).shape == (300, classes)
    assert judge(phrases, other) > 0.9
    again = learn_phrases(learned, classes, VOCABULARY)
    assert np.array_equal(phrases.weights, again.weights)
    assert np.array_equal(phrases.tags, again.tags)


def test_keys_do_not_reach_into_the_text_before() -> None:
    texts = make_texts(8)
    together = make_keys(texts.corpus)
    alone = [make_keys(texts.corpus.take(np.array([index]))) for index in range(8)]
    for order in range(2):
        joined = np.concatenate([each[order] for each in alone])
        assert np.array_equal(together[order], joined)


def test_a_phrase_that_was_not_learnt_has_no_slot() -> None:
    texts = make_texts()
    tags = choose_phrases(texts, [texts.labels == 1], 1 << 12)
    rng = np.random.default_rng(1)
    other = as_corpus(rng.integers(60_000, 65_000, 20_000))
    slot, tag = find_slots(make_keys(other)[0], len(tags))
    assert (tags[slot] == tag).mean() < 2 / 255
    slot, tag = find_slots(make_keys(texts.corpus)[0], len(tags))
    assert (tags[slot] == tag).mean() > 0.1


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("precision", TOLERANCES)
@settings(max_examples=8, deadline=None)
@given(cuts=some.lists(some.integers(1, 19), max_size=4, unique=True))
def test_a_graph_reads_phrases_in_pieces_as_in_one(
    precision: Precision, classes: int, cuts: list[int]
) -> None:
    texts = make_texts(classes=classes)
    torch.manual_seed(0)
    phrases = learn_phrases(texts, classes, VOCABULARY).scaled(0.5)
    net = Classifier(small("mingru"), classes)
    source = ClassifierSource(net, "{}", 1.5, precision, phrases=phrases)
    text = np.concatenate([texts.corpus.text(index) for index in range(2)])[:20].astype(np.int64)
    ends = [0, *sorted(cuts), 20]
    nothing = np.array([], np.int64)
    # Another text beside it reads nothing in most pieces, and must stay as it is.
    pieces = [[text[start:end], text if start == 0 else nothing] for start, end in pairwise(ends)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_builder, "SMALL", 64)
        found = read_all(source, pieces)[-1]
    assert np.allclose(found[0], source.run(text), atol=TOLERANCES[precision])
    assert np.allclose(found[1], found[0], atol=1e-5)
    without = ClassifierSource(net, "{}", 1.5, precision)
    assert not np.allclose(found[0], without.run(text), atol=1e-3)


def test_scores_of_long_texts_have_bounds() -> None:
    texts = make_texts()
    phrases = learn_phrases(texts, 2, VOCABULARY)
    source = ClassifierSource(Classifier(small("mingru"), 2), "{}", phrases=phrases.scaled(0.1))
    text = texts.corpus.tokens[:200].astype(np.int64)
    logits = [phrases.logits(as_corpus(np.tile(text, times)))[0] for times in (50, 100, 400)]
    assert np.allclose(logits[1], logits[0], rtol=0.01)
    assert np.allclose(logits[2], logits[0], rtol=0.01)
    pieces = [[text] for _ in range(50)]
    assert np.allclose(read_all(source, pieces)[-1][0], source.run(np.tile(text, 50)), atol=1e-4)


def test_phrases_are_weighed_only_if_that_is_better() -> None:
    learned, judged = make_texts(400), make_texts(300, seed=1)
    source = ClassifierSource(Classifier(small("mingru"), 2), "{}", 1.0)
    unsure = np.random.default_rng(0).normal(0, 0.1, (300, 2)).astype(np.float32)
    better, note = weigh_phrases(source, unsure, learned, judged, seed=0)
    assert better.phrases is not None
    assert better.temperature > 0
    assert better.parameters > source.parameters
    assert "pairs and triples" in note
    usual = 2 * (np.eye(2)[judged.labels] - 0.5).astype(np.float32)
    usual[:30] *= -1
    random = Labelled(learned.corpus, np.random.default_rng(2).integers(0, 2, 400))
    worse, note = weigh_phrases(source, usual, random, judged, seed=0)
    assert worse.phrases is None
    assert "not make it better" in note
    few, note = weigh_phrases(source, unsure, make_texts(50), judged, seed=0)
    assert (few, note) == (source, "")


@given(seed=some.integers(0, 100))
@settings(deadline=None)
def test_levels_are_near_weights_of_all_sizes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.normal(0, 1, (40, 2)) * 10 ** rng.uniform(-6, 2, (40, 2))).astype(np.float32)
    weight[0] = 0
    levels, codes = quantize_levels(weight)
    assert codes.dtype == np.uint8
    assert len(levels) == 255
    largest = np.abs(weight).max()
    assert (np.abs(levels[codes] - weight) <= 0.03 * np.abs(weight) + 5.1e-4 * largest).all()
    assert (levels[quantize_levels(np.zeros((3, 1), np.float32))[1]] < 1e-20).all()
