"""One class for each picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, one_hot

from modelpad.convert import SourceModel
from modelpad.convert.plans import OutputPlan
from modelpad.datasets.split import Targets
from modelpad.fields import Label
from modelpad.recipes.images.head import Features, Head, fit_head
from modelpad.recipes.images.objectives.losses import Loss
from modelpad.recipes.images.objectives.objective import Companions, Scores
from modelpad.training.calibration import fit_temperature, soften
from modelpad.training.classification import evaluate_classifier
from modelpad.training.evaluated import EvaluatedItems, pick_examples
from modelpad.training.findings import Findings
from modelpad.training.recipe import Example

OUTPUT = "label"


@dataclass(frozen=True, slots=True)
class OneClass:
    """A softmax over `classes`; targets are int64 (N,)."""

    classes: tuple[str, ...]
    loss: Loss
    figure: str = "accuracy"
    explains: bool = True

    @property
    def outputs(self) -> int:
        return len(self.classes)

    @property
    def summary(self) -> str:
        return f"Tells {self.outputs} kinds of pictures apart: {list_some(self.classes)}."

    def encode(self, targets: Targets) -> torch.Tensor:
        return one_hot(as_labels(targets), self.outputs).float()

    def measure(self, logits: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        return self.loss.measure(logits, encoded)

    def validate(self, logits: torch.Tensor, targets: Targets) -> float:
        return cross_entropy(logits, as_labels(targets)).item()

    def fit_head(self, features: Features, targets: Targets, seed: int) -> Head:
        return fit_head(features, targets.astype(np.int64), self.loss, seed)

    def fit_temperature(self, logits: Features, targets: Targets) -> float:
        return fit_temperature(logits, targets.astype(np.int64))

    def score(self, logits: Features, temperature: float) -> Scores:
        return soften(logits, temperature)

    def finish(self, layer: torch.nn.Linear) -> None:
        pass

    def activate(self, logits: torch.Tensor, temperature: float) -> dict[str, torch.Tensor]:
        return {OUTPUT: torch.softmax(logits / temperature, dim=1)}

    def pick_scores(self, outputs: Mapping[str, Scores]) -> Scores:
        return outputs[OUTPUT]

    def align(self, targets: Targets) -> Scores:
        aligned: Scores = self.encode(targets).numpy()
        return aligned

    def judge(self, scores: Scores, targets: Targets) -> float:
        return float((scores.argmax(axis=1) == targets).mean())

    def evaluate(
        self,
        items: EvaluatedItems,
        targets: Targets,
        scores: Scores,
        uncalibrated: Scores | None = None,
    ) -> Findings:
        labels = targets.astype(np.int64)
        return evaluate_classifier(items, labels, scores, self.classes, uncalibrated=uncalibrated)

    def plan(self, source: SourceModel, companions: Companions) -> list[OutputPlan]:
        return [plan_label(source, companions, self.classes)]

    def pick_examples(self, items: EvaluatedItems, targets: Targets) -> list[Example]:
        return pick_examples(items, targets.astype(np.int64), self.classes)


def plan_label(
    source: SourceModel, companions: Companions, classes: tuple[str, ...], *, multiple: bool = False
) -> OutputPlan:
    """The field of the scores of `classes`."""
    spec = next(spec for spec in source.outputs if spec.name == OUTPUT)
    label = Label(
        OUTPUT,
        classes,
        familiarity=companions.familiarity,
        heatmap=companions.heatmap,
        multiple=multiple,
    )
    return OutputPlan(label, spec)


def as_labels(targets: Targets) -> torch.Tensor:
    """Class numbers, int64 (N,)."""
    labels: NDArray[np.int64] = targets.astype(np.int64, copy=False)
    return torch.from_numpy(labels)


def list_some(names: Sequence[str]) -> str:
    """At most eight names."""
    return ", ".join(names[:8]) + ", …" * (len(names) > 8)
