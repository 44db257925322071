"""A classifier of pictures after its training: what its report, its card and its page show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelpad.convert import SourceModel
from modelpad.convert.input_plan import InputPlan
from modelpad.convert.output_plan import OutputPlan
from modelpad.fields import Field, Label
from modelpad.training.figures import draw_confusion, draw_mistakes, encode_png
from modelpad.training.metrics import accuracy, confusion
from modelpad.training.recipe import Example
from modelpad.training.report import Figure

MAX_EXAMPLES = 10
TESTED_ONCE = "The test set was touched once, after the training, and chose nothing."


def plan_fields(
    source: SourceModel, field: Field, classes: Sequence[str]
) -> tuple[list[InputPlan], list[OutputPlan]]:
    """The plans for a model that takes `field` as it is and returns (N, classes) probabilities."""
    label = Label("label", tuple(classes))
    output = OutputPlan(label, source.outputs[0], shape=(None, len(classes)))
    return [InputPlan(field, source.inputs[0])], [output]


@dataclass(frozen=True, slots=True)
class Answers:
    """Predictions for test images (N, H, W[, 3]): true labels (N,), scores (N, classes).

    `inverted` images are white ink on black, and shown as black on white.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    classes: Sequence[str]
    inverted: bool = False

    @property
    def accuracy(self) -> float:
        """The share that is right."""
        return accuracy(self.labels, self.scores)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """How often each true class (row) was taken for each class (column)."""
        return confusion(self.labels, self.scores.argmax(axis=1), len(self.classes))

    def draw(self) -> list[Figure]:
        """The confusion matrix, and the wrong answers that the model was surest of."""
        guesses, sureness = self.scores.argmax(axis=1), self.scores.max(axis=1)
        wrong = np.flatnonzero(guesses != self.labels)
        wrong = wrong[np.argsort(-sureness[wrong], kind="stable")]
        tiles = [
            (self.images[n], self.classes[self.labels[n]], self.classes[guesses[n]]) for n in wrong
        ]
        mistakes = draw_mistakes(tiles, inverted=self.inverted)
        return [draw_confusion(self.confusion, self.classes), mistakes]

    def examples(self) -> list[Example]:
        """The first image of each class, at most ten, for the page."""
        labels, firsts = np.unique(self.labels, return_index=True)
        return [
            Example({"image": encode_png(self.images[first])}, self.classes[label])
            for label, first in list(zip(labels, firsts, strict=True))[:MAX_EXAMPLES]
        ]
