"""Passages of texts, and the classifier that learns from them."""

from __future__ import annotations

import numpy as np
import torch

from modelpad.recipes.text.labelled import Labelled
from modelpad.recipes.text.network import Classifier, Shape
from modelpad.recipes.text.passages import (
    MAX_WORDS,
    PER_TEXT,
    PassagePlan,
    Taught,
    cut_passages,
    cut_text,
    teach_passages,
)
from modelpad.recipes.text.splits import LabelledTexts
from modelpad.recipes.text.tokens import START, join_parts
from modelpad.training.device import Device

CPU = Device("cpu", torch.float32)
SHAPE = Shape("mingru", vocabulary=40, embedding=64, width=64, blocks=2)
TEXT = "I saw it twice. Why?<br /><br />Because it is good!\nThe end, " + "and on " * 60 + "."


def ignore(step: int, steps: int, loss: float) -> None:
    """Reports nothing."""


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
    text = " ".join(f"{n} " + "word " * n + "end." for n in range(20, 40, 5))
    found = cut_text(text, np.random.default_rng(0))
    assert len(found) == PER_TEXT
    assert all(passage in text for passage in found)
    assert max(len(passage.split()) for passage in found) <= MAX_WORDS
    assert cut_text("One sentence.", np.random.default_rng(0)) == []


def test_short_sentences_are_always_passages() -> None:
    found = cut_text(TEXT, np.random.default_rng(0))
    assert found[:3] == ["I saw it twice.", "Why?", "Because it is good!"]
    assert len(found) == 3 + PER_TEXT


def test_passages_have_the_label_of_their_text() -> None:
    texts = LabelledTexts([f"{n} a. {n} b. {n} c." for n in range(30)], np.arange(30))
    found = cut_passages(texts, seed=1, most=50)
    assert 50 <= len(found.texts) < 50 + 3 + PER_TEXT
    assert [text.split()[0] for text in found.texts] == [str(label) for label in found.labels]
    assert cut_passages(texts, seed=1, most=50).texts == found.texts


def teach(*, flipped: bool = False) -> tuple[Classifier, Taught, dict[str, torch.Tensor]]:
    """A new classifier that was taught, the result, and its weights before."""
    torch.manual_seed(0)
    net = Classifier(SHAPE, 2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    learned = [
        make_labelled(300, 30, 1, flipped=flipped),
        make_labelled(600, 5, 2, flipped=flipped),
    ]
    judged = [make_labelled(80, 30, 3), make_labelled(80, 5, 4)]
    plan = PassagePlan(rate=1e-2, batch=32, whole_batch=16, dropout=0.0)
    return net, teach_passages(net, learned, judged, plan, CPU, ignore), before


def test_all_layers_learn_short_texts_the_same_way_each_time() -> None:
    net, found, before = teach()
    assert found.kept
    assert found.passages[1] > max(0.8, found.passages[0])
    assert "passages" in found.describe()
    after = net.state_dict()
    assert not any(torch.equal(value, after[name]) for name, value in before.items())
    again = teach()[0].state_dict()
    assert all(torch.equal(value, again[name]) for name, value in after.items())


def test_what_makes_it_worse_is_not_kept() -> None:
    net, found, before = teach(flipped=True)
    assert not found.kept
    assert found.describe() == ""
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
