"""The contract of an objective: everything in the recipe that depends on what is predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from modelpad.convert import SourceModel
from modelpad.convert.plans import OutputPlan
from modelpad.datasets.split import Targets
from modelpad.fields import Familiarity, Heatmap
from modelpad.recipes.images.head import Features, Head
from modelpad.training.evaluated import EvaluatedItems
from modelpad.training.findings import Findings
from modelpad.training.recipe import Example

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Companions:
    """Outputs of the graph that add to a label; None where the model does not have them."""

    familiarity: Familiarity | None = None
    heatmap: Heatmap | None = None


class Objective(Protocol):
    """What a model predicts, as a linear layer's `outputs` numbers, the logits (N, outputs).

    Targets are those of a split. Scores (N, outputs) are what the model's users see.
    """

    @property
    def outputs(self) -> int:
        """The number of logits."""

    @property
    def figure(self) -> str:
        """The name of what `judge` returns, such as `accuracy`."""

    @property
    def explains(self) -> bool:
        """Whether a heat map and a familiarity can be part of the prediction."""

    @property
    def summary(self) -> str:
        """What the model does, in a sentence."""

    def encode(self, targets: Targets) -> torch.Tensor:
        """Targets as numbers (N, outputs), which may be averaged between items."""

    def measure(self, logits: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """The loss to be minimised in training."""

    def validate(self, logits: torch.Tensor, targets: Targets) -> float:
        """The loss by which epochs are compared."""

    def fit_head(self, features: Features, targets: Targets, seed: int) -> Head:
        """The best linear layer on features (N, D) that do not change."""

    def fit_temperature(self, logits: Features, targets: Targets) -> float:
        """What logits are divided by so that scores are probabilities; 1 if they are none."""

    def score(self, logits: Features, temperature: float) -> Scores:
        """The scores, as `activate` computes them."""

    def finish(self, layer: torch.nn.Linear) -> None:
        """Changes a trained linear layer into the one that is served."""

    def activate(self, logits: torch.Tensor, temperature: float) -> dict[str, torch.Tensor]:
        """The graph's outputs for the logits of a finished layer."""

    def pick_scores(self, outputs: Mapping[str, Scores]) -> Scores:
        """The scores among a graph's outputs."""

    def align(self, targets: Targets) -> Scores:
        """Targets as numbers of the shape and in the units of scores (N, outputs)."""

    def judge(self, scores: Scores, targets: Targets) -> float:
        """How good scores are, 1 for perfect ones."""

    def evaluate(
        self,
        items: EvaluatedItems,
        targets: Targets,
        scores: Scores,
        uncalibrated: Scores | None = None,
    ) -> Findings:
        """What the report says about scores."""

    def plan(self, source: SourceModel, companions: Companions) -> list[OutputPlan]:
        """The fields of a graph's outputs."""

    def pick_examples(self, items: EvaluatedItems, targets: Targets) -> list[Example]:
        """Some of the items, for the page."""
