"""What is said about a classifier: intervals, chance in words, wrong labels by file."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn import metrics

from modelpad.statistics import wilson
from modelpad.training.classification import evaluate_classifier
from modelpad.training.evaluated import EvaluatedItems, encode_picture, pick_examples
from modelpad.training.findings import Findings
from modelpad.training.multi_label import evaluate_multi_label
from modelpad.training.regression import evaluate_regression

RED = np.zeros((80, 120, 3), np.uint8)
RED[..., 0] = 200


@pytest.fixture(autouse=True)
def _charts_are_drawn_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelpad.training.evaluation_figures.save_chart", lambda drawing: b"")


def items(count: int, **options: object) -> EvaluatedItems:
    names = tuple(f"some/{n}.jpg" for n in range(count))
    return EvaluatedItems(lambda index: RED, names, **options)  # type: ignore[arg-type]


def draw(count: int, classes: int, skill: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    logits = rng.normal(0, 1, (count, classes)) + skill * np.eye(classes)[labels]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, scores.astype(np.float32)


def evaluate(count: int, classes: Sequence[str], skill: float, **options: object) -> Findings:
    labels, scores = draw(count, len(classes), skill)
    return evaluate_classifier(items(count, **options), labels, scores, classes)


def test_metrics_are_those_of_scikit_learn() -> None:
    labels, scores = draw(120, 3, 2.0)
    found = evaluate(120, "abc", 2.0)
    right = int((scores.argmax(axis=1) == labels).sum())
    assert found.metrics["test_accuracy"] == right / 120
    assert found.intervals["test_accuracy"] == wilson(right, 120)
    auc = metrics.roc_auc_score(labels, scores, multi_class="ovr")
    assert found.metrics["test_auc"] == pytest.approx(auc, abs=1e-5)
    assert auc in found.intervals["test_auc"]
    f1 = metrics.f1_score(labels, scores.argmax(axis=1), average="macro")
    assert found.metrics["test_f1"] == pytest.approx(f1)
    assert [(each.name, each.support) for each in found.class_scores] == [(c, 40) for c in "abc"]
    assert all(each.auc in each.auc_interval for each in found.class_scores)


def test_two_classes_have_sensitivities_and_folds_are_named() -> None:
    found = evaluate(80, ["well", "ill"], 1.5, out_of_fold=True)
    assert "cross_validated_accuracy" in found.metrics
    high, higher = (
        found.metrics[f"cross_validated_sensitivity_at_{level}_specificity"] for level in (90, 95)
    )
    assert 0 < higher <= high < 1
    assert found.class_scores[0].auc == pytest.approx(found.class_scores[1].auc)
    assert any("without it" in note for note in found.notes)


def test_chance_is_said_in_words() -> None:
    (warning,) = evaluate(40, ["well", "ill"], 0.0).warnings
    assert "no better than chance" in warning
    assert "50.0 % of always answering 'well'" in warning
    assert evaluate(40, ["well", "ill"], 3.0).warnings == ()


def test_a_perfect_ranking_is_not_certain() -> None:
    found = evaluate(40, ["well", "ill"], 30.0)
    assert found.metrics["test_auc"] == 1
    assert found.intervals["test_auc"] == wilson(20, 20)


def test_a_perfect_label_of_few_patients_is_not_certain() -> None:
    groups = np.repeat(np.arange(12), 10)
    truth = np.stack([groups % 2 == 0, groups % 3 == 0], axis=1)
    found = evaluate_multi_label(items(120, groups=groups), truth, truth.astype(np.float32), "ab")
    lows = [each.auc_interval.low for each in found.class_scores]
    assert lows == [wilson(6, 6).low, wilson(4, 4).low]


def test_pictures_of_few_patients_give_wide_intervals() -> None:
    groups = np.repeat(np.arange(12), 10)
    alone, grouped = evaluate(120, "abc", 1.0), evaluate(120, "abc", 1.0, groups=groups)
    assert grouped.metrics == alone.metrics
    assert any("12 groups" in note for note in grouped.notes)
    assert grouped.intervals["test_accuracy"] != alone.intervals["test_accuracy"]


def test_mistakes_are_shown_in_colour_with_caption_and_file() -> None:
    found = evaluate(120, ["a" * 40, "b", "c"], 1.0)
    mistakes = [each for each in found.figures if each.title == "Worst mistakes"]
    assert 0 < len(mistakes) <= 24
    shown = np.asarray(Image.open(io.BytesIO(mistakes[0].content)))
    assert abs(shown.reshape(-1, 3).mean(axis=0) - [200, 0, 0]).max() < 5
    assert ", predicted " in mistakes[0].caption
    assert mistakes[0].alt.startswith("some/")
    assert mistakes[0].in_bundle


def test_only_drawings_are_inverted() -> None:
    grey = np.full((8, 8, 1), 30, np.uint8)
    plain, drawing = (EvaluatedItems(lambda index: grey, inverted=each) for each in (False, True))
    assert (plain.show(0)[0, 0], drawing.show(0)[0, 0]) == (30, 225)
    assert plain.show(0).shape == (8, 8)


def test_likely_wrong_labels_are_listed_by_file() -> None:
    labels, scores = draw(120, 3, 4.0)
    labels[7], scores[7] = 2, (0.01, 0.98, 0.01)
    found = evaluate_classifier(items(120), labels, scores, ("ant", "bee", "cow"))
    (table,) = found.tables
    assert table.rows[0][:3] == ("some/7.jpg", "cow", "bee")
    assert any("labels are likely wrong" in note for note in found.notes)
    assert next(each.alt for each in found.figures if each.title == table.title) == "some/7.jpg"


def test_a_class_missing_from_the_test_is_no_failure() -> None:
    labels, scores = draw(30, 3, 2.0)
    found = evaluate_classifier(items(30), labels % 2, scores, "abc")
    assert np.isnan(found.class_scores[2].auc)
    assert np.isfinite(found.metrics["test_auc"])
    one = evaluate_classifier(items(30), labels * 0, scores, "abc")
    assert "test_auc" not in one.metrics


def test_several_labels_per_item() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((90, 3)) < 0.4
    scores = np.clip(truth * 0.5 + rng.random((90, 3)) * 0.6, 0, 1).astype(np.float32)
    scores[:, 2] = rng.random(90)
    found = evaluate_multi_label(items(90), truth, scores, ["red", "round", "new"])
    expected = metrics.average_precision_score(truth, scores, average="macro")
    assert found.metrics["test_map"] == pytest.approx(expected)
    f1 = metrics.f1_score(truth, scores >= 0.5, average="macro")
    assert found.metrics["test_f1"] == pytest.approx(f1)
    subset = metrics.accuracy_score(truth, scores >= 0.5)
    assert found.metrics["test_subset_accuracy"] == pytest.approx(subset)
    assert "no better than chance for new:" in found.warnings[0]
    assert found.class_scores[0].auc in found.class_scores[0].auc_interval


def test_regression() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(10, 3, (60, 2)).astype(np.float32)
    values = targets + rng.normal(0, 1, (60, 2)).astype(np.float32)
    values[:, 1] = rng.normal(10, 3, 60)
    found = evaluate_regression(items(60), targets, values, ["age", "weight"])
    assert found.metrics["test_mae"] == pytest.approx(
        metrics.mean_absolute_error(targets, values), rel=1e-5
    )
    assert found.metrics["test_r2"] == pytest.approx(metrics.r2_score(targets, values), rel=1e-4)
    assert found.warnings == [
        "On this test, the model predicts 'weight' no better than its mean would."
    ]
    assert [row[0] for row in found.tables[0].rows] == ["age", "weight"]
    one = evaluate_regression(items(60), targets[:, :1], values[:, :1], ["age"])
    assert one.metrics["test_rmse"] in one.intervals["test_rmse"]
    constant = evaluate_regression(items(9), targets[:9, :1] * 0, values[:9, :1], ["age"])
    assert "test_r2" not in constant.metrics


def test_examples_are_small_files_of_every_class() -> None:
    labels = np.array([1, 1, 0])
    examples = pick_examples(items(3), labels, ["ant", "bee"])
    assert [each.expected for each in examples] == ["ant", "bee"]
    assert encode_picture(RED).startswith(b"\xff\xd8")
    assert encode_picture(RED[:8, :8, :1]).startswith(b"\x89PNG")
