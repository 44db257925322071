"""The bag of words: its weights, its bundle, and what it says as a baseline."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import modelpad
from modelpad.bundle import Bundle
from modelpad.errors import UsageError
from modelpad.recipes.reviews import RECIPE, ReviewsOptions
from modelpad.recipes.reviews.bag import Baseline, compare
from modelpad.recipes.text.bag import fit_bag, weigh_ngrams
from modelpad.recipes.text.word_effects import describe_effects, divide_words, measure_effects
from modelpad.training.options import OptimizerOptions
from modelpad.training.pipeline import train
from modelpad.training.run import TrainRequest

KINDS = {
    "negative": ("a dull mess", "not good at all", "I hated it", "awful"),
    "positive": ("a lovely gem", "very good indeed", "I loved it", "superb"),
    "neutral": ("it has a plot", "there are actors", "it lasts two hours", "seen on a train"),
}
FILLERS = ("the film", "this story", "last night", "with friends", "in the end", "as it happens")


def make_texts(count: int, kinds: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Texts of a kind's words between others."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for label in rng.integers(0, kinds, count).tolist():
        parts = [str(rng.choice(FILLERS)) for _ in range(rng.integers(1, 6))]
        parts.insert(int(rng.integers(len(parts) + 1)), str(rng.choice([*KINDS.values()][label])))
        texts.append(f"{' '.join(parts)}.")
        labels.append(label)
    return texts, labels


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bag of words of a table with two classes."""
    folder = tmp_path_factory.mktemp("bag")
    table = folder / "films.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("text", "label"))
        for text, label in zip(*make_texts(300, 2), strict=True):
            rows.writerow((text, [*KINDS][label]))
    request = TrainRequest("films", str(table), folder / "run", seed=1)
    return train(RECIPE, ReviewsOptions(arch="bow"), request, out=io.StringIO()).bundle


def test_a_bag_of_words_is_a_bundle_that_reads_texts(trained: Bundle) -> None:
    model = modelpad.load(str(trained.folder))
    good, bad = model("A LOVELY gem, as it happens!"), model("Not good at all")
    assert (good.label, bad.label) == ("positive", "negative")
    assert sum(good.scores.values()) == pytest.approx(1)
    assert trained.manifest.metrics["test_accuracy"] > 0.9
    parity = trained.manifest.parity
    assert parity is not None
    assert parity["label_agreement"] == 1
    card = json.loads(trained.path("card.json").read_bytes())
    assert "pairs of words" in card["architecture"]
    assert "baseline_accuracy" not in card["metrics"]


def test_pairs_of_words_decide_and_more_than_two_classes_are_told_apart() -> None:
    texts, labels = make_texts(600, 3)
    bag = fit_bag(texts, np.array(labels), 3)
    unseen, truth = make_texts(100, 3, seed=1)
    scores = bag.read_scores(unseen)
    assert scores.shape == (100, 3)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert (scores.argmax(axis=1) == truth).mean() > 0.95
    flipped = bag.read_scores(["not good", "very good"]).argmax(axis=1)
    assert flipped.tolist() == [0, 1]


def test_ngrams_are_weighted_by_the_ratio_of_their_shares() -> None:
    from scipy.sparse import csr_matrix

    found = csr_matrix(np.array([[1, 0], [1, 1], [0, 1]], np.float32))
    ratios = weigh_ngrams(found, np.array([True, True, False]))
    assert np.allclose(ratios, np.log([(3 / 5) / (1 / 3), (2 / 5) / (2 / 3)]))


@pytest.mark.parametrize(
    ("optimizer", "epochs", "option"),
    [
        (OptimizerOptions(), 3, "--epochs"),
        (OptimizerOptions(weight_decay=0.1), None, "--weight-decay"),
    ],
)
def test_an_option_of_the_encoder_is_refused(
    tmp_path: Path, optimizer: OptimizerOptions, epochs: int | None, option: str
) -> None:
    table = tmp_path / "few.csv"
    table.write_text("text,label\n" + "a good one,x\na bad one,y\n" * 10)
    request = TrainRequest("few", str(table), tmp_path / "run", epochs=epochs)
    with pytest.raises(UsageError, match=f"{option} does not apply to --arch bow"):
        train(RECIPE, ReviewsOptions("bow", optimizer=optimizer), request, out=io.StringIO())


def test_a_model_that_does_not_beat_the_baseline_says_so() -> None:
    found = Baseline(0.9, 1000, 2.0)
    assert compare(found, 0.95).warnings == []
    assert "No better than a bag of words" in compare(found, 0.9).warnings[0]
    assert compare(found, 0.95).metrics == {"baseline_accuracy": 0.9}
    assert not compare(None, 0.5).metrics


def test_the_words_that_move_a_score_are_found() -> None:
    def read(texts: Sequence[str]) -> NDArray[np.float32]:
        shares = [0.5 + 0.3 * ("loved" in text) - 0.2 * ("but" in text) for text in texts]
        return np.array([[1 - share, share] for share in shares], np.float32)

    effects = measure_effects("I loved it, but why?", 1, read)
    assert [piece for piece, _ in effects] == ["I", "loved", "it,", "but", "why?"]
    assert describe_effects(effects) == ("loved (+1.3)", "but (-1.0)")
    assert measure_effects("loved", 1, read) == []
    pieces = divide_words(" a  b\nc " * 400)
    assert len(pieces) <= 100
    assert "".join(pieces) == (" a  b\nc " * 400)
