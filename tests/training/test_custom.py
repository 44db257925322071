"""Losses, metrics and callbacks of the user's own, and Keras's by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.errors import UsageError
from modelpad.recipes.digits import RECIPE, DigitsOptions
from modelpad.training.options import KerasOptions
from modelpad.training.pipeline import Outcome, train
from modelpad.training.run import TrainRequest
from modelpad.training.user_objects import load_object

keras = pytest.importorskip("keras")

MINE = """
import keras

seen = []


def focal(truth, scores):
    return -keras.ops.sum(truth * (1 - scores) ** 2 * keras.ops.log(scores + 1e-7), axis=-1)


def surest(truth, scores):
    return keras.ops.max(scores, axis=-1)


def wrong(truth, scores):
    return keras.ops.matmul(truth, scores)


class Seen(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        seen.append((epoch, sorted(logs)))


class Picky(keras.callbacks.Callback):
    def __init__(self, patience):
        super().__init__()


number = 3
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    return tmp_path


@pytest.mark.slow
def test_objects_of_ones_own_train_a_model(mine: Path) -> None:
    module = pytest.importorskip("importlib").import_module
    options = DigitsOptions(
        arch="mlp",
        keras=KerasOptions(
            loss="mine.py:focal", metric=("mine.py:surest", "top_k"), callback=("mine:Seen",)
        ),
    )
    with pytest.raises(UsageError, match="top_k: Keras has no metric"):
        run(mine, options)
    options = DigitsOptions(
        arch="mlp",
        keras=KerasOptions(
            loss="mine.py:focal",
            metric=("mine.py:surest", "top_k_categorical_accuracy", "accuracy"),
            callback=("mine:Seen",),
        ),
    )
    outcome = run(mine, options)
    assert set(outcome.metrics) >= {
        "test_accuracy",
        "test_surest",
        "test_top_k_categorical_accuracy",
    }
    assert outcome.metrics["test_top_k_categorical_accuracy"] > outcome.metrics["test_accuracy"]
    card: Any = outcome.bundle.read_json("card.json")
    assert card["training"]["loss"] == "mine.py:focal"
    assert {"surest", "val_surest"} <= set(card["history"][0])
    assert [epoch for epoch, _ in module("mine").seen] == [0]


def run(folder: Path, options: DigitsOptions) -> Outcome:
    request = TrainRequest("digits", "uci-digits", folder / "run", epochs=1)
    return train(RECIPE, options, request, out=io.StringIO())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (KerasOptions(loss="categorical_crossentropi"), "Keras has no loss of that name"),
        (KerasOptions(loss="mine.py:focul"), "mine.py has no object 'focul'"),
        (KerasOptions(loss="nowhere.py:loss"), "there is no file nowhere.py"),
        (KerasOptions(loss="nowhere:loss"), "there is no module 'nowhere'"),
        (KerasOptions(loss="mine.py:"), "expected FILE.py:OBJECT"),
        (KerasOptions(loss="broken.py:loss"), "importing broken.py failed: ModuleNotFoundError"),
        (KerasOptions(loss="broken:loss"), "importing broken failed: ModuleNotFoundError"),
        (KerasOptions(loss="mine.py:number"), "is of type int, not a loss"),
        (KerasOptions(loss="mine.py:Seen"), "a class that is not a keras Loss"),
        (KerasOptions(loss="mine.py:wrong"), "mine.py:wrong fails on labels of shape"),
        (KerasOptions(metric=("mine.py:wrong",)), "wrong fails on labels of shape"),
        (KerasOptions(callback=("mine.py:Picky",)), "cannot be created without arguments"),
        (KerasOptions(callback=("mine.py:number",)), "is of type int, not a callback"),
        (KerasOptions(callback=("EarlyStoping",)), "Keras has no callback of that name"),
    ],
)
def test_what_cannot_be_used_is_named(mine: Path, options: KerasOptions, message: str) -> None:
    from modelpad.training.custom import resolve_custom

    with pytest.raises(UsageError, match="--") as caught:
        resolve_custom(options, keras.losses.CategoricalCrossentropy(), 4)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("loss", "one_hot"),
    [
        ("categorical_hinge", True),
        ("CategoricalFocalCrossentropy", True),
        ("sparse_categorical_crossentropy", False),
        ("SparseCategoricalCrossentropy", False),
    ],
)
def test_labels_are_encoded_as_the_loss_takes_them(loss: str, one_hot: bool) -> None:
    from modelpad.training.custom import resolve_custom

    custom = resolve_custom(KerasOptions(loss=loss), keras.losses.CategoricalCrossentropy(), 3)
    labels = np.array([2, 0])
    expected = [[0, 0, 1], [1, 0, 0]] if one_hot else [2, 0]
    assert custom.encode(labels).tolist() == expected


def test_a_metric_that_is_undefined_on_the_test_split_is_left_out() -> None:
    from modelpad.training.custom import Custom, UserMetrics

    labels, scores = np.array([0, 1]), np.full((2, 2), 0.5, np.float32)
    metrics = {"nothing": lambda truth, scores: scores / 0, "half": lambda truth, scores: scores}
    custom = Custom(2, keras.losses.CategoricalCrossentropy(), metrics, ())
    for found in (
        custom.measure(labels, scores),
        UserMetrics(metrics).measure(custom.encode(labels), scores, "test"),
    ):
        assert found.metrics == {"test_half": 0.5}
        assert found.warnings == ["The metric test_nothing was left out: its value is inf."]


def test_a_file_is_one_module_that_data_classes_find(mine: Path) -> None:
    (mine / "weighed.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "seen = []\n"
        "@dataclass\nclass Weights:\n    first: float = 1.0\n"
        "weights = Weights()\n"
    )
    weights: Any = load_object("weighed.py:weights", "--loss")
    assert weights.first == 1.0
    assert load_object("./weighed.py:weights", "--metric") is weights
    (mine / "late.py").write_text("import no_such_package\n")
    with pytest.raises(UsageError, match="no_such_package"):
        load_object("late.py:value", "--loss")
    (mine / "late.py").write_text("value = 7\n")
    assert load_object("late.py:value", "--loss") == 7


def test_a_file_may_import_what_lies_beside_it(mine: Path) -> None:
    (mine / "sub").mkdir()
    (mine / "sub" / "beside_it.py").write_text("value = 7\n")
    (mine / "sub" / "uses.py").write_text("from beside_it import value\n")
    assert load_object("sub/uses.py:value", "--loss") == 7
