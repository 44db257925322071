"""Training of language models and classifiers of texts: it learns, and resumes exactly."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelpad.recipes.text import fitting, language
from modelpad.recipes.text.classifying import (
    ClassifierPlan,
    ClassifierTrainer,
    freeze,
    predict,
)
from modelpad.recipes.text.fitting import Corpora, fit_classifier, fit_language, shorten
from modelpad.recipes.text.labelled import Labelled, cut, order_batches
from modelpad.recipes.text.language import (
    LanguagePlan,
    LanguageTrainer,
    batch_texts,
    measure,
    pad_texts,
    to_lanes,
)
from modelpad.recipes.text.network import Classifier, LanguageModel, Shape
from modelpad.recipes.text.schedule import one_cycle
from modelpad.recipes.text.tokens import START, Corpus, join_parts
from modelpad.training.device import Device
from modelpad.training.run import Run, TrainRequest

CPU = Device("cpu", torch.float32)
SHAPE = Shape("mingru", vocabulary=40, embedding=64, width=64, blocks=2)


def make_corpus(count: int, seed: int = 0) -> tuple[Corpus, np.ndarray[Any, Any]]:
    """Texts that count upwards or downwards, from a random token on, and which of both they do."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    parts = []
    for label in labels.tolist():
        steps = np.arange(rng.integers(8, 24)) * (1 if label else -1)
        numbers = 1 + (rng.integers(39) + steps) % 39
        parts.append(np.concatenate([[START], numbers]).astype(np.uint16))
    sizes = np.array([len(part) for part in parts], np.int64)
    return join_parts(parts, sizes, sizes), labels.astype(np.int64)


def plan(**more: Any) -> LanguagePlan:
    return LanguagePlan("target", **{"passes": 2, "lanes": 4, "span": 16, **more})


def ignore(step: int, steps: int, loss: float) -> None:
    """Reports nothing."""


class Stopped(Exception):
    """A run was killed."""


class Killer:
    """Saves within a pass into a folder, and then stops the training as SIGKILL would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def save_midway(self, write: Callable[[Path], object]) -> None:
        write(self.folder)
        raise Stopped


def weigh(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in net.parameters()])


@pytest.mark.parametrize("arch", ["mingru", "lstm"])
@pytest.mark.parametrize("sampled", [False, True])
def test_a_language_model_learns(arch: Any, sampled: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(language, "SAMPLED", 20)
    corpus, _ = make_corpus(200)
    held_out, _ = make_corpus(20, seed=1)
    torch.manual_seed(0)
    net = LanguageModel(Shape(arch, 40, 64, 64, 2))
    before = measure(net, held_out, CPU)
    trainer = LanguageTrainer(net, corpus, plan(passes=3, rate=1e-2, sampled=sampled), CPU)
    for _ in range(3):
        trainer.train_pass(ignore)
    after = measure(net, held_out, CPU)
    assert after.loss < 0.6 * before.loss
    assert before.tokens == after.tokens == len(held_out.tokens)


def test_a_killed_pass_resumes_exactly(tmp_path: Path) -> None:
    corpus, _ = make_corpus(100)
    asked = plan(dropout=1.0, keep_every=7)

    def start() -> LanguageTrainer:
        torch.manual_seed(0)
        return LanguageTrainer(LanguageModel(SHAPE), corpus, asked, CPU)

    whole = start()
    for _ in range(2):
        whole.train_pass(ignore)
    killed = start()
    killed.train_pass(ignore)
    with pytest.raises(Stopped):
        killed.train_pass(ignore, Killer(tmp_path / "killed"))
    resumed = start()
    resumed.read(tmp_path / "killed")
    assert (resumed.passed, resumed.done) == (1, 7)
    resumed.train_pass(ignore)
    assert torch.equal(weigh(whole.net), weigh(resumed.net))


def test_a_killed_epoch_of_a_classifier_resumes_exactly(tmp_path: Path) -> None:
    corpus, labels = make_corpus(60)
    asked = ClassifierPlan(epochs=3, frozen=1, batch=8, keep_every=3)

    def start() -> ClassifierTrainer:
        torch.manual_seed(0)
        return ClassifierTrainer(Classifier(SHAPE, 2), Labelled(corpus, labels), asked, CPU)

    whole = start()
    for epoch in range(3):
        whole.train_epoch(epoch, ignore)
    killed = start()
    killed.train_epoch(0, ignore)
    with pytest.raises(Stopped):
        killed.train_epoch(1, ignore, Killer(tmp_path / "killed"))
    resumed = start()
    resumed.read(tmp_path / "killed")
    for epoch in (1, 2):
        resumed.train_epoch(epoch, ignore)
    assert torch.equal(weigh(whole.net), weigh(resumed.net))
    assert torch.equal(weigh(whole.averaged), weigh(resumed.averaged))


def make_run(folder: Path, epochs: int, **more: Any) -> Run:
    run = Run(TrainRequest("m", "data", folder, epochs=epochs, **more), {}, io.StringIO())
    run.set_epochs(epochs)
    return run


def test_the_stages_of_a_language_model_resume_where_they_were(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """Killed in the general text, in the first pass, and between passes: always the same model."""
    monkeypatch.setattr(fitting, "SPANS", {"cpu": 32})
    corpora = Corpora(make_corpus(40)[0], make_corpus(8, seed=1)[0], make_corpus(20, seed=2)[0])

    def fit(run: Run) -> torch.Tensor:
        torch.manual_seed(0)
        net = LanguageModel(SHAPE)
        fit_language(net, corpora, run, CPU)
        return weigh(net)

    whole = fit(make_run(tmp_path / "whole", 2))
    original = Run.save_midway
    saves = 0

    def save(run: Run, write: Callable[[Path], object]) -> None:
        nonlocal saves
        original(run, write)
        saves += 1
        if saves in (1, 4):
            raise Stopped

    monkeypatch.setattr(Run, "save_midway", save)
    monkeypatch.setattr(fitting, "KEEP_EVERY", 1)
    for attempt in range(3):
        run = make_run(tmp_path / "killed", 2, resume=attempt > 0)
        try:
            found = fit(run)
        except Stopped:
            continue
    assert torch.equal(whole, found)
    assert saves > 4


def test_a_classifier_learns_from_whole_texts(tmp_path: Path) -> None:
    corpus, labels = make_corpus(240)
    other, truth = make_corpus(60, seed=1)
    torch.manual_seed(0)
    net = Classifier(SHAPE, 2)
    train, validation = Labelled(corpus, labels), Labelled(other, truth)
    fit_classifier(net, train, validation, make_run(tmp_path, 16), CPU)
    logits = predict(net, other, CPU)
    assert (logits.argmax(axis=1) == truth).mean() > 0.8
    alone = np.concatenate([predict(net, other.take(np.array([n])), CPU) for n in range(5)])
    assert np.allclose(alone, logits[:5], atol=1e-5)  # padding changes nothing


def test_layers_are_unfrozen_from_the_top() -> None:
    net = Classifier(SHAPE, 2)

    def trainable() -> set[str]:
        return {
            name.removeprefix("encoder.").partition(".weight")[0]
            for name, each in net.named_parameters()
            if each.requires_grad and name.endswith("weight")
        }

    freeze(net, 0)
    assert trainable() == {"first", "second"}
    freeze(net, 1)
    assert "layers.blocks.1.gates" in trainable()
    assert "layers.blocks.0.gates" not in trainable()
    freeze(net, 3)
    assert {"embedding", "layers.enter", "layers.blocks.0.gates"} <= trainable()


def test_lanes_continue_in_the_next_step() -> None:
    lanes = to_lanes(np.arange(100, dtype=np.uint16), 3, 20)
    assert lanes.shape == (21, 3)
    assert lanes[:, 1].tolist() == [*range(20, 41)]
    short = to_lanes(np.arange(5, dtype=np.uint16), 2, 4)
    assert short[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_long_pass_ends_early() -> None:
    corpus, _ = make_corpus(200)
    assert plan().steps(corpus) > 5
    trainer = LanguageTrainer(LanguageModel(SHAPE), corpus, plan(most=5), CPU)
    reported: list[tuple[int, int]] = []
    for _ in range(2):
        trainer.train_pass(lambda step, steps, loss: reported.append((step, steps)))
    assert reported == [(5, 5), (5, 5)]


def test_every_token_of_a_text_is_measured_once() -> None:
    corpus, _ = make_corpus(30)
    batches = [pad_texts(corpus, chosen) for chosen in batch_texts(corpus.lengths, 8)]
    seen = sum(int(counted.sum()) for _, _, counted in batches)
    assert seen == len(corpus.tokens)


def test_batches_hold_every_text_once() -> None:
    corpus, _ = make_corpus(70)
    batches = order_batches(corpus.lengths, batch=8, seed=3)
    assert sorted(np.concatenate(batches).tolist()) == [*range(70)]
    assert len(batches) == 9


def test_a_long_text_is_learnt_from_its_start_token_and_its_end() -> None:
    text = np.arange(50, dtype=np.uint16)
    assert cut(text, 10).tolist() == [0, *range(41, 50)]
    assert cut(text, 50) is text


def test_the_rate_rises_and_falls_once() -> None:
    shares = [one_cycle(step, 100) for step in range(100)]
    peak = int(np.argmax(shares))
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
    assert 0 < shares[-1] < 0.02 < shares[peak] <= 1


def test_a_corpus_is_shortened_by_whole_texts() -> None:
    corpus, _ = make_corpus(30)
    assert len(shorten(corpus, 1)) == 1
    assert len(shorten(corpus, 10**9)) == 30
    assert len(shorten(corpus, 100).tokens) <= 100
