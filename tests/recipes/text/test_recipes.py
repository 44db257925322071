"""The recipes for text from a table to a bundle, with networks of a few thousand weights."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import modelpad
from modelpad.errors import UsageError
from modelpad.recipes import load_recipe
from modelpad.recipes.reviews import ReviewsOptions
from modelpad.recipes.reviews import data as reviews_data
from modelpad.recipes.reviews.data import Start
from modelpad.recipes.reviews.model import build_classifier
from modelpad.recipes.text.network import Classifier, Shape
from modelpad.recipes.text.pretrained import load_pretrained
from modelpad.recipes.writer import WriterOptions
from modelpad.recipes.writer import baseline as writer_baseline
from modelpad.training.pipeline import Outcome, train
from modelpad.training.run import TrainRequest

KINDS = {"negative": ("dull", "hated", "awful"), "positive": ("lovely", "loved", "superb")}
FRAMES = ("The film was {} in all ways.", "We found it {}!", "A {} story, said my friend.")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of three sentences, each with a word of its class."""
    path = tmp_path_factory.mktemp("texts") / "films.csv"
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("text", "label"))
        for number in range(320):
            name = [*KINDS][number % 2]
            parts = [str(rng.choice(FRAMES)).format(rng.choice(KINDS[name])) for _ in range(3)]
            rows.writerow((" ".join([*parts, f"Seen in {1900 + number}."]), name))
    return path


def run(
    recipe: str, options: object, table: Path, folder: Path, epochs: int | None = 1
) -> tuple[Outcome, str]:
    """Trains for an epoch; the outcome, and what was printed."""
    out = io.StringIO()
    request = TrainRequest("films", str(table), folder, epochs=epochs, seed=1)
    return train(load_recipe(recipe), options, request, out=out), out.getvalue()


@pytest.fixture(scope="module")
def trained(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, str]:
    """A classifier from scratch, and what was printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reviews_data, "Shape", partial(Shape, embedding=64, width=64, blocks=1))
        patch.setattr(reviews_data, "VOCABULARY", 400)
        folder = tmp_path_factory.mktemp("scratch")
        return run("reviews", ReviewsOptions(from_="none"), table, folder)


def test_a_classifier_is_trained_from_scratch_beside_its_baseline(
    trained: tuple[Outcome, str],
) -> None:
    outcome, printed = trained
    assert "Baseline: a bag of words" in printed
    assert "passages of the texts" in printed
    assert outcome.metrics["baseline_accuracy"] > 0.9
    card = json.loads(outcome.bundle.path("card.json").read_bytes())
    assert any("bag of words" in note for note in card["notes"])
    report = (outcome.bundle.folder.parent / "report.html").read_text()
    assert "Accuracy by length" in report
    sequence = outcome.bundle.manifest.sequence
    assert sequence is not None
    assert sequence.embedding == "embedding"
    model = modelpad.load(str(outcome.bundle.folder))
    assert model("We found it superb!").label in KINDS


def test_a_classifier_of_the_same_classes_continues(
    trained: tuple[Outcome, str], table: Path, tmp_path: Path
) -> None:
    before = str(trained[0].bundle.folder)
    outcome, printed = run(
        "reviews", ReviewsOptions(from_=before, no_baseline=True), table, tmp_path, epochs=None
    )
    assert "epoch 1" not in printed
    assert "passages of the texts" in printed
    assert outcome.bundle.manifest.training["started"] == "from films"
    with pytest.raises(UsageError, match="is a classifier"):
        run("reviews", ReviewsOptions(from_=before, adapt=1), table, tmp_path)
    short = tmp_path / "short.csv"
    rows = [f"Film {n} was {KINDS[kind][0]},{kind}" for n in range(20) for kind in KINDS]
    short.write_text("\n".join(["text,label", *rows]))
    with pytest.raises(UsageError, match="only 0 passages"):
        run("reviews", ReviewsOptions(from_=before), short, tmp_path, epochs=None)


def test_a_classifier_of_other_classes_gives_its_encoder(
    trained: tuple[Outcome, str],
) -> None:
    pretrained = load_pretrained(str(trained[0].bundle.folder), None)
    net = pretrained.build()
    assert isinstance(net, Classifier)
    start = Start(net, pretrained.tokenizer, None, pretrained)
    other = build_classifier(start, 3)
    assert other.second.out_features == 3
    assert torch.equal(other.encoder.embedding.weight, net.encoder.embedding.weight)


def test_a_writer_is_compared_with_a_5_gram(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_baseline, "FEW", 1000)
    options = WriterOptions(general="none", vocabulary=300, width=64)
    outcome, printed = run("writer", options, table, tmp_path)
    assert "Baseline: a 5-gram with modified Kneser-Ney smoothing" in printed
    assert 0 < outcome.metrics["baseline_bits_per_byte"] < 4
    card = json.loads(outcome.bundle.path("card.json").read_bytes())
    assert any("5-gram" in note for note in card["notes"])
