"""The recipes for text from a table to a bundle, with networks of a few thousand weights."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import modelpad
from modelpad.recipes import load_recipe
from modelpad.recipes.reviews import ReviewsOptions
from modelpad.recipes.reviews import data as reviews_data
from modelpad.recipes.text.network import Shape
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


def run(recipe: str, options: object, table: Path, folder: Path) -> tuple[Outcome, str]:
    """Trains for an epoch; the outcome, and what was printed."""
    out = io.StringIO()
    request = TrainRequest(recipe, str(table), folder, epochs=1, seed=1)
    return train(load_recipe(recipe), options, request, out=out), out.getvalue()


def test_a_classifier_is_trained_from_scratch_beside_its_baseline(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(Shape, embedding=64, width=64, blocks=1)
    monkeypatch.setattr(reviews_data, "Shape", small)
    monkeypatch.setattr(reviews_data, "VOCABULARY", 400)
    outcome, printed = run("reviews", ReviewsOptions(from_="none"), table, tmp_path)
    assert "Baseline: a bag of words" in printed
    assert "passages of the texts" in printed
    assert outcome.metrics["baseline_accuracy"] > 0.9
    card = json.loads(outcome.bundle.path("card.json").read_bytes())
    assert any("bag of words" in note for note in card["notes"])
    report = (tmp_path / "report.html").read_text()
    assert "Accuracy by length" in report
    sequence = outcome.bundle.manifest.sequence
    assert sequence is not None
    assert sequence.embedding == "embedding"
    model = modelpad.load(str(outcome.bundle.folder))
    assert model("We found it superb!").label in KINDS


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
