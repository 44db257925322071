"""What a model of pictures can predict: one class, several labels, numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modelpad.datasets import DataSet, Split
from modelpad.errors import UsageError
from modelpad.recipes.images import ImagesOptions
from modelpad.recipes.images.columns import ColumnOptions
from modelpad.recipes.images.objectives.choose import choose_objective
from modelpad.recipes.images.objectives.labels import Labels
from modelpad.recipes.images.objectives.losses import GAMMA, Loss, sigmoid_focal
from modelpad.recipes.images.objectives.objective import Objective
from modelpad.recipes.images.objectives.one_class import OneClass
from modelpad.recipes.images.objectives.values import Values, measure_values

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(0, 1, (200, 12)).astype(np.float32)
TRUTH = FEATURES[:, :3] + RNG.normal(0, 0.2, (200, 3)) > [0, 0.5, -0.5]
NUMBERS = (FEATURES[:, :2] @ [[30.0, 0.1], [5.0, -0.2]] + [1000, 5]).astype(np.float32)


def one_class() -> tuple[Objective, np.ndarray]:
    loss = Loss("cross-entropy", np.ones(2, np.float32))
    return OneClass(("no", "yes"), loss), TRUTH[:, 0].astype(np.int64)


def labels() -> tuple[Objective, np.ndarray]:
    return Labels(("a", "b", "c"), "cross-entropy"), TRUTH


def values() -> tuple[Objective, np.ndarray]:
    return measure_values(("weight", "height"), NUMBERS), NUMBERS


@pytest.mark.parametrize("make", [one_class, labels, values])
def test_a_fitted_layer_predicts_and_the_graph_agrees(make: object) -> None:
    """Of 150 items on 50 others; scores of the served layer are those that were evaluated."""
    assert callable(make)
    objective, targets = make()
    assert isinstance(objective, OneClass | Labels | Values)
    head = objective.fit_head(FEATURES[:150], targets[:150], 0)
    logits = head.predict(FEATURES[150:])
    temperature = objective.fit_temperature(logits, targets[150:])
    scores = objective.score(logits, temperature)
    assert scores.shape == (50, objective.outputs)
    assert objective.judge(scores, targets[150:]) > 0.9
    assert objective.judge(objective.align(targets), targets) == pytest.approx(1)
    layer = torch.nn.Linear(12, objective.outputs)
    head.copy_to(layer)
    objective.finish(layer)
    with torch.no_grad():
        outputs = objective.activate(layer(torch.from_numpy(FEATURES[150:])), temperature)
    found = objective.pick_scores({name: value.numpy() for name, value in outputs.items()})
    assert np.allclose(found, scores, rtol=1e-4, atol=1e-4)


def test_labels_without_an_example_are_unlikely() -> None:
    truth = np.stack([TRUTH[:, 0], np.zeros(200, np.bool_)], axis=1)
    objective = Labels(("seen", "never"), "cross-entropy")
    scores = objective.score(objective.fit_head(FEATURES, truth, 0).predict(FEATURES), 1)
    assert scores[:, 1].max() < 0.01


def test_focal_loss_of_labels_is_as_published() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    targets = (torch.arange(15).reshape(5, 3) % 2).float()
    p = torch.where(targets == 1, torch.sigmoid(logits), 1 - torch.sigmoid(logits))
    expected = (-((1 - p) ** GAMMA) * p.log()).mean()
    assert torch.allclose(sigmoid_focal(logits, targets), expected)


def test_the_task_of_the_data_chooses_the_objective() -> None:
    images = np.zeros((4, 8, 8, 3), np.uint8)

    def choose(options: ImagesOptions, task: str, targets: np.ndarray) -> Objective:
        classes = () if task == "regression" else ("a", "b")
        names = ("x",) if task == "regression" else ()
        split = Split(images, targets)
        data = DataSet("d", "d", "", "", classes, split, task=task, value_names=names)  # type: ignore[arg-type]
        return choose_objective(options, data, split)

    plain = ImagesOptions()
    assert isinstance(choose(plain, "classification", np.array([0, 1, 0, 1])), OneClass)
    assert isinstance(choose(plain, "multi-label", np.eye(4, 2, dtype=np.bool_)), Labels)
    numbers = np.arange(4, dtype=np.float32)[:, None]
    assert isinstance(choose(plain, "regression", numbers), Values)
    with pytest.raises(UsageError, match="--loss focal is a loss of classes"):
        choose(ImagesOptions(loss="focal"), "regression", numbers)


def test_folders_of_classes_have_no_columns() -> None:
    split = Split(np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 0, 1]))
    data = DataSet("pets", "pets", "", "", ("a", "b"), split)
    ColumnOptions(target_column=("x",)).check(data)
    for columns in (ColumnOptions(multi_label=True), ColumnOptions(regression=True)):
        with pytest.raises(UsageError, match="pets is no table"):
            columns.check(data)


def test_options_say_what_columns_hold() -> None:
    assert ColumnOptions().plan().task is None
    assert ColumnOptions(target_column=("species",)).plan().task == "classification"
    assert ColumnOptions(target_column=("target",)).plan().task is None
    assert ColumnOptions(target_column=("a", "b"), multi_label=True).plan().task == "multi-label"
    assert ColumnOptions(regression=True, group="owner").plan().group_column == "owner"
    with pytest.raises(UsageError, match="exclude each other"):
        ColumnOptions(multi_label=True, regression=True).plan()
