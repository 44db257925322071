"""Any number of labels for each picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from modelpad.convert import SourceModel
from modelpad.convert.plans import OutputPlan
from modelpad.datasets.split import Targets
from modelpad.recipes.images import LossName
from modelpad.recipes.images.head import STRENGTHS, Features, Head, fit_head
from modelpad.recipes.images.objectives.losses import Loss, sigmoid_focal
from modelpad.recipes.images.objectives.objective import Companions, Scores
from modelpad.recipes.images.objectives.one_class import OUTPUT, list_some, plan_label
from modelpad.training.calibration import fit_temperature
from modelpad.training.evaluated import EvaluatedItems, pick_first
from modelpad.training.findings import Findings
from modelpad.training.multi_label import THRESHOLD, evaluate_multi_label
from modelpad.training.recipe import Example

SEARCHED = 10  # labels; with more, the penalty is not searched for each
USUAL_STRENGTH = (0.1,)


@dataclass(frozen=True, slots=True)
class Labels:
    """A sigmoid for each of `classes`; targets are bool (N, classes)."""

    classes: tuple[str, ...]
    loss: LossName
    figure: str = "label_accuracy"
    explains: bool = True

    @property
    def outputs(self) -> int:
        return len(self.classes)

    @property
    def summary(self) -> str:
        return f"Finds which of {self.outputs} labels a picture has: {list_some(self.classes)}."

    def encode(self, targets: Targets) -> torch.Tensor:
        return torch.from_numpy(targets.astype(np.float32))

    def measure(self, logits: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        if self.loss == "focal":
            return sigmoid_focal(logits, encoded)
        return binary_cross_entropy_with_logits(logits, encoded)

    def validate(self, logits: torch.Tensor, targets: Targets) -> float:
        return binary_cross_entropy_with_logits(logits, self.encode(targets)).item()

    def fit_head(self, features: Features, targets: Targets, seed: int) -> Head:
        """One logistic regression for each label."""
        loss = Loss(self.loss, np.ones(2, np.float32))
        strengths = STRENGTHS if self.outputs <= SEARCHED else USUAL_STRENGTH
        heads = []
        for truth in targets.astype(np.int64).T:
            if truth.min() == truth.max():  # nothing to learn, but how likely it is
                chance = (truth.sum() + 0.5) / (len(truth) + 1)
                bias = np.array([np.log(chance / (1 - chance))], np.float32)
                heads.append(Head(np.zeros((1, features.shape[1]), np.float32), bias))
                continue
            both = fit_head(features, truth, loss, seed, strengths)
            heads.append(Head(both.weight[1:] - both.weight[:1], both.bias[1:] - both.bias[:1]))
        return Head(
            np.concatenate([each.weight for each in heads]),
            np.concatenate([each.bias for each in heads]),
        )

    def fit_temperature(self, logits: Features, targets: Targets) -> float:
        """The temperature of the sigmoids: of softmaxes over absent and present."""
        flat = logits.reshape(-1)
        pairs = np.stack([np.zeros_like(flat), flat], axis=1)
        return fit_temperature(pairs, targets.reshape(-1).astype(np.int64))

    def score(self, logits: Features, temperature: float) -> Scores:
        scores: Scores = torch.sigmoid(torch.from_numpy(logits) / temperature).numpy()
        return scores

    def finish(self, layer: torch.nn.Linear) -> None:
        pass

    def activate(self, logits: torch.Tensor, temperature: float) -> dict[str, torch.Tensor]:
        return {OUTPUT: torch.sigmoid(logits / temperature)}

    def pick_scores(self, outputs: Mapping[str, Scores]) -> Scores:
        return outputs[OUTPUT]

    def align(self, targets: Targets) -> Scores:
        aligned: Scores = self.encode(targets).numpy()
        return aligned

    def judge(self, scores: Scores, targets: Targets) -> float:
        return float(((scores >= THRESHOLD) == targets).mean())

    def evaluate(
        self,
        items: EvaluatedItems,
        targets: Targets,
        scores: Scores,
        uncalibrated: Scores | None = None,
    ) -> Findings:
        return evaluate_multi_label(items, targets.astype(np.bool_), scores, self.classes)

    def plan(self, source: SourceModel, companions: Companions) -> list[OutputPlan]:
        return [plan_label(source, companions, self.classes, multiple=True)]

    def pick_examples(self, items: EvaluatedItems, targets: Targets) -> list[Example]:
        """The first picture of each set of labels."""
        _, first = np.unique(targets, axis=0, return_index=True)
        chosen: NDArray[np.int64] = np.sort(first)
        names = [", ".join(np.array(self.classes)[targets[n].astype(np.bool_)]) for n in chosen]
        return pick_first(items, chosen, [name or None for name in names])
