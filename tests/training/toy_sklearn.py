"""A whole recipe in one file: logistic regression on the 8x8 digits, with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from modelpad.convert import ImportRequest, open_object
from modelpad.fields import Tensor
from modelpad.training.card import Card, describe_data
from modelpad.training.classification import plan_fields
from modelpad.training.metrics import accuracy
from modelpad.training.options import option
from modelpad.training.recipe import Example, Recipe, Trained
from modelpad.training.run import Run


@dataclass(frozen=True, slots=True)
class Options:
    """What `modelpad train toy` accepts."""

    strength: float = option(1.0, "inverse of the regularisation's strength")
    balanced: bool = option(False, "weigh each class by how rare it is")


def train(options: Options, run: Run) -> Trained:
    """Fits, tests and describes the model."""
    data = run.load_data()
    assert data.test is not None
    inputs = data.train.images.reshape(-1, 64).astype(np.float32)
    tested = data.test.images.reshape(-1, 64).astype(np.float32)
    weights = "balanced" if options.balanced else None
    model = LogisticRegression(C=options.strength, class_weight=weights, max_iter=20)
    model.fit(inputs, data.train.labels)

    scores = model.predict_proba(tested).astype(np.float32)
    source = open_object(model, ImportRequest())
    planned, outputs = plan_fields(source, Tensor("pixels", "float32", (64,)), data.classes)
    return Trained(
        source=source,
        inputs=planned,
        outputs=outputs,
        proof={"pixels": tested},
        metrics={"test_accuracy": accuracy(data.test.labels, scores)},
        card=Card("Toy digits", "Ten digits from 64 numbers.", [describe_data(data)]),
        examples=[Example({"pixels": tested[0].tolist()}, data.classes[data.test.labels[0]])],
        tolerance=1e-3,
    )


RECIPE = Recipe(
    name="toy",
    summary="a toy that tells 8x8 digits apart",
    extra="sklearn",
    data_sets=("uci-digits",),
    options=Options,
    train=train,
    examples=("modelpad train toy",),
)
