"""The losses: cross-entropy and focal loss, each class with a weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from modelpad.recipes.images import LossName

GAMMA = 2.0
SMOOTHING = 0.1  # of labels, some of which are wrong in most collections


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss by name, with float32 `class_weights` (classes,).

    Focal loss (Lin et al., 2017, "Focal loss for dense object detection") weights the
    cross-entropy by (1 - p)^2, where p is the probability of the true class.
    """

    name: LossName
    class_weights: NDArray[np.float32]

    def measure(
        self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float = SMOOTHING
    ) -> torch.Tensor:
        """The mean loss of logits (N, classes), for targets (N, classes) that sum to 1."""
        classes = targets.shape[1]
        targets = targets * (1 - smoothing) + smoothing / classes
        likelihood = log_softmax(logits, dim=1)
        if self.name == "focal":
            likelihood = (1 - likelihood.exp()) ** GAMMA * likelihood
        weights = targets * torch.from_numpy(self.class_weights)
        return -(weights * likelihood).sum() / weights.sum()


def sigmoid_focal(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The mean focal loss of independent labels: logits and targets (N, labels), targets 0 to 1."""
    entropy = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    chance = torch.sigmoid(logits)
    true = chance * targets + (1 - chance) * (1 - targets)
    return ((1 - true) ** GAMMA * entropy).mean()
