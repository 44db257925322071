"""Classifiers that start from a transformer in a Hugging Face folder: a tiny BERT."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelpad
from modelpad.errors import UsageError
from modelpad.recipes import load_recipe
from modelpad.recipes.reviews import ReviewsOptions
from modelpad.recipes.text import transformer
from modelpad.recipes.text.transformer import TransformerTrainer, load_transformer
from modelpad.training.device import Device
from modelpad.training.pipeline import train
from modelpad.training.run import TrainRequest
from tests.convert.tiny_huggingface import CASES, save_folder

CPU = Device("cpu", torch.float32)
KINDS = {"negative": "cold", "positive": "good"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT that was trained to fill masks, so that its last layer is of no use here."""
    found = tmp_path_factory.mktemp("models") / "tiny-bert"
    save_folder(CASES["mask"], found)
    return found


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "films.csv"
    rows = [
        f"the film number {number} was {KINDS[name]} at the end,{name}"
        for number in range(150)
        for name in KINDS
    ]
    path.write_text("\n".join(["text,label", *rows]), "utf-8")
    return path


@pytest.mark.slow
def test_a_bert_becomes_a_classifier(
    folder: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformer, "RATE", 5e-3)
    out = io.StringIO()
    request = TrainRequest("films", str(table), tmp_path, epochs=2)
    outcome = train(load_recipe("reviews"), ReviewsOptions(from_=str(folder)), request, out=out)
    assert outcome.metrics["test_accuracy"] > 0.9
    assert "Parity on 32 items" in out.getvalue()
    model = modelpad.load(str(outcome.bundle.folder))
    for name, word in KINDS.items():
        assert model(f"the film number 900 was {word} at the end").label == name


def test_a_killed_epoch_resumes_exactly(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformer, "KEEP_EVERY", 2)
    texts = [f"the film was {word}" for word in KINDS.values()] * 32
    labels = np.array([0, 1] * 32)

    class Killed(Exception):
        pass

    class Killer:
        def save_midway(self, write: Callable[[Path], object]) -> None:
            write(tmp_path)
            raise Killed

    def start() -> TransformerTrainer:
        torch.manual_seed(0)
        model = load_transformer(folder, [*KINDS])
        return TransformerTrainer(model, model.encode(texts), labels, 1, CPU, seed=3)

    def weigh(trainer: TransformerTrainer) -> torch.Tensor:
        return torch.cat([each.detach().flatten() for each in trainer.model.net.parameters()])

    whole, killed, resumed = start(), start(), start()
    whole.train_epoch(0, ignore)
    with pytest.raises(Killed):
        killed.train_epoch(0, ignore, Killer())
    resumed.read(tmp_path)
    assert resumed.done == 2
    resumed.train_epoch(0, ignore)
    assert torch.equal(weigh(whole), weigh(resumed))


def ignore(step: int, steps: int, loss: float) -> None:
    """Reports nothing."""


@pytest.mark.parametrize(
    ("case", "words"), [("vit", "cannot start a classifier of texts"), ("adapt", "--adapt")]
)
def test_a_folder_that_does_not_fit_is_wrong_usage(
    case: str, words: str, folder: Path, table: Path, tmp_path: Path
) -> None:
    more: dict[str, Any] = {}
    if case == "vit":
        folder = tmp_path / "vit"
        save_folder(CASES["vit"], folder)
    else:
        more["adapt"] = 1
    options = ReviewsOptions(from_=str(folder), **more)
    request = TrainRequest("films", str(table), tmp_path / "run", epochs=1)
    with pytest.raises(UsageError, match=words):
        train(load_recipe("reviews"), options, request, out=io.StringIO())
