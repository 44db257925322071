"""One or more numbers for each picture: a regression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import mse_loss, smooth_l1_loss

from modelpad.convert import SourceModel
from modelpad.convert.plans import OutputPlan
from modelpad.datasets.split import Targets
from modelpad.fields import Number
from modelpad.recipes.images.head import Features, Head, fit_ridge
from modelpad.recipes.images.objectives.objective import Companions, Scores
from modelpad.recipes.images.objectives.one_class import list_some
from modelpad.training.evaluated import EvaluatedItems, pick_first
from modelpad.training.findings import Findings
from modelpad.training.recipe import Example
from modelpad.training.regression import evaluate_regression, measure_errors

OUTPUT = "value"
EXAMPLES = 6


@dataclass(frozen=True, slots=True)
class Values:
    """A linear layer for the columns `names`; targets are float32 (N, names).

    Logits are in units of the training targets: `mean` and `spread`, float32 (names,).
    """

    names: tuple[str, ...]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    figure: str = "r2"
    explains: bool = False

    @property
    def outputs(self) -> int:
        return len(self.names)

    @property
    def summary(self) -> str:
        return f"Predicts {list_some(self.names)} from a picture."

    def encode(self, targets: Targets) -> torch.Tensor:
        return torch.from_numpy(((targets - self.mean) / self.spread).astype(np.float32))

    def measure(self, logits: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """Huber's loss: a few wrong targets do not spoil the rest."""
        return smooth_l1_loss(logits, encoded)

    def validate(self, logits: torch.Tensor, targets: Targets) -> float:
        return mse_loss(logits, self.encode(targets)).item()

    def fit_head(self, features: Features, targets: Targets, seed: int) -> Head:
        return fit_ridge(features, self.encode(targets).numpy())

    def fit_temperature(self, logits: Features, targets: Targets) -> float:
        return 1.0

    def score(self, logits: Features, temperature: float) -> Scores:
        return logits * self.spread + self.mean

    @torch.no_grad()
    def finish(self, layer: torch.nn.Linear) -> None:
        """Changes the layer's units to those of the targets."""
        spread = torch.from_numpy(self.spread)
        layer.weight.mul_(spread[:, None])
        layer.bias.mul_(spread).add_(torch.from_numpy(self.mean))

    def activate(self, logits: torch.Tensor, temperature: float) -> dict[str, torch.Tensor]:
        return {name: logits[:, n : n + 1] for n, name in enumerate(self.tensors)}

    def pick_scores(self, outputs: Mapping[str, Scores]) -> Scores:
        return np.concatenate([outputs[name] for name in self.tensors], axis=1)

    @property
    def tensors(self) -> list[str]:
        """The names of the graph's outputs."""
        return [f"{OUTPUT}_{n}" for n in range(self.outputs)] if self.outputs > 1 else [OUTPUT]

    def align(self, targets: Targets) -> Scores:
        return targets.astype(np.float32)

    def judge(self, scores: Scores, targets: Targets) -> float:
        """The mean coefficient of determination of the columns that vary."""
        r2 = measure_errors(targets.astype(np.float32), scores)[2]
        return float(np.nanmean(r2)) if np.isfinite(r2).any() else 1.0

    def evaluate(
        self,
        items: EvaluatedItems,
        targets: Targets,
        scores: Scores,
        uncalibrated: Scores | None = None,
    ) -> Findings:
        return evaluate_regression(items, targets.astype(np.float32), scores, self.names)

    def plan(self, source: SourceModel, companions: Companions) -> list[OutputPlan]:
        specs = {spec.name: spec for spec in source.outputs}
        return [
            OutputPlan(Number(name), specs[tensor])
            for name, tensor in zip(self.names, self.tensors, strict=True)
        ]

    def pick_examples(self, items: EvaluatedItems, targets: Targets) -> list[Example]:
        """Pictures from the lowest to the highest value of the first column."""
        order = np.argsort(targets[:, 0], kind="stable")
        chosen = order[np.linspace(0, len(order) - 1, min(EXAMPLES, len(order))).astype(np.int64)]
        return pick_first(items, chosen, [f"{targets[n, 0]:.4g}" for n in chosen])


def measure_values(names: tuple[str, ...], targets: Targets) -> Values:
    """The objective for training targets (N, names)."""
    spread = targets.std(axis=0).astype(np.float32)
    spread = np.where(spread > 0, spread, 1).astype(np.float32)
    return Values(names, targets.mean(axis=0).astype(np.float32), spread)
