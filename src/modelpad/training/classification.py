"""An image classifier after training: predictions, metrics, figures and examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelpad.convert import SourceModel
from modelpad.convert.plans import InputPlan, OutputPlan
from modelpad.fields import Familiarity, Field, Label
from modelpad.training.figures import draw_confusion, draw_mistakes, encode_png
from modelpad.training.metrics import accuracy, confusion
from modelpad.training.recipe import Example
from modelpad.training.report import Figure

MAX_EXAMPLES = 10
TESTED_ONCE = "The test set was used once, after training, and not to choose the model."


def plan_fields(
    source: SourceModel,
    field: Field,
    classes: Sequence[str],
    familiarity: Familiarity | None = None,
) -> tuple[list[InputPlan], list[OutputPlan]]:
    """The plans for a model that takes `field` as it is and returns (N, classes) probabilities."""
    scores = [spec for spec in source.outputs if spec.item_shape == (len(classes),)]
    label = Label("label", tuple(classes), familiarity=familiarity)
    output = OutputPlan(label, (scores or source.outputs)[0])
    return [InputPlan(field, source.inputs[0])], [output]


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions for test images (N, H, W[, 3]): true labels (N,), scores (N, classes).

    `inverted` images are white on black; figures show them black on white.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    classes: Sequence[str]
    inverted: bool = False

    @property
    def accuracy(self) -> float:
        """The fraction of correct predictions."""
        return accuracy(self.labels, self.scores)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """How often each true class (row) was predicted as each class (column)."""
        return confusion(self.labels, self.scores.argmax(axis=1), len(self.classes))

    def draw(self) -> list[Figure]:
        """The confusion matrix, and the wrong predictions with the highest scores."""
        predicted, confidence = self.scores.argmax(axis=1), self.scores.max(axis=1)
        wrong = np.flatnonzero(predicted != self.labels)
        wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
        tiles = [
            (self.images[n], self.classes[self.labels[n]], self.classes[predicted[n]])
            for n in wrong
        ]
        mistakes = draw_mistakes(tiles, inverted=self.inverted)
        return [draw_confusion(self.confusion, self.classes), mistakes]

    def examples(self) -> list[Example]:
        """The first image of each class, at most ten, as examples for the web page."""
        labels, first_indices = np.unique(self.labels, return_index=True)
        return [
            Example({"image": encode_png(self.images[first])}, self.classes[label])
            for label, first in list(zip(labels, first_indices, strict=True))[:MAX_EXAMPLES]
        ]
