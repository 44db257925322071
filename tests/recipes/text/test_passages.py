"""Passages of texts, and the head that learns from them."""

from __future__ import annotations

import numpy as np
import torch

from modelpad.recipes.text.fitting import Labelled
from modelpad.recipes.text.network import Classifier, Shape
from modelpad.recipes.text.passages import (
    MAX_WORDS,
    PER_TEXT,
    cut_passages,
    cut_text,
    refit_head,
)
from modelpad.recipes.text.splits import LabelledTexts
from modelpad.recipes.text.tokens import START, join_parts
from modelpad.training.device import Device

CPU = Device("cpu", torch.float32)
SHAPE = Shape("mingru", vocabulary=40, embedding=64, width=64, blocks=2)
TEXT = "I saw it twice. Why?<br /><br />Because it is good!\nThe end, " + "and on " * 60 + "."


def make_labelled(count: int, longest: int, seed: int, *, flipped: bool = False) -> Labelled:
    """Random tokens, of which those of a class are from one half of the vocabulary."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    parts = [
        np.append(START, rng.integers(1, 20, rng.integers(2, longest)) + 20 * label)
        for label in labels.tolist()
    ]
    sizes = np.array([len(part) for part in parts], np.int64)
    corpus = join_parts([part.astype(np.uint16) for part in parts], sizes, sizes)
    return Labelled(corpus, (1 - labels if flipped else labels).astype(np.int64))


def test_a_passage_is_one_to_three_sentences_of_its_text() -> None:
    found = cut_text(TEXT, np.random.default_rng(0))
    assert len(found) == PER_TEXT
    plain = " ".join(TEXT.replace("<br />", " ").split())
    assert all(passage in plain for passage in found)
    assert max(len(passage.split()) for passage in found) == MAX_WORDS
    assert cut_text("One sentence.", np.random.default_rng(0)) == []


def test_passages_have_the_label_of_their_text() -> None:
    texts = LabelledTexts([f"{n} a. {n} b. {n} c." for n in range(30)], np.arange(30))
    found = cut_passages(texts, seed=1, most=50)
    assert 50 <= len(found.texts) < 50 + PER_TEXT
    assert [text.split()[0] for text in found.texts] == [str(label) for label in found.labels]
    assert cut_passages(texts, seed=1, most=50).texts == found.texts


def test_the_head_learns_short_texts_and_the_encoder_stays() -> None:
    torch.manual_seed(0)
    net = Classifier(SHAPE, 2)
    encoder = [each.clone() for each in net.encoder.parameters()]
    learned = [make_labelled(300, 30, 1), make_labelled(600, 5, 2)]
    judged = [make_labelled(80, 30, 3), make_labelled(80, 5, 4)]
    found = refit_head(net, learned, judged, CPU, seed=0)
    assert found.kept
    assert found.passages[1] > max(0.8, found.passages[0])
    assert "passages" in found.describe()
    after = [*net.encoder.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(encoder, after, strict=True))


def test_a_head_that_is_no_better_is_dropped() -> None:
    torch.manual_seed(0)
    net = Classifier(SHAPE, 2)
    learned = [make_labelled(300, 30, 1), make_labelled(600, 5, 2)]
    judged = [make_labelled(80, 30, 3), make_labelled(80, 5, 4)]
    refit_head(net, learned, judged, CPU, seed=0)
    head = {name: value.clone() for name, value in net.first.state_dict().items()}
    wrong = [make_labelled(300, 30, 1, flipped=True), make_labelled(600, 5, 2, flipped=True)]
    found = refit_head(net, wrong, judged, CPU, seed=0)
    assert not found.kept
    assert found.describe() == ""
    assert all(torch.equal(value, head[name]) for name, value in net.first.state_dict().items())
