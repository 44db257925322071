"""Batches of images for Keras; shuffling and augmentation depend only on seed, epoch and batch.

An epoch that is repeated after a crash is therefore identical.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import torch

from modelpad.training.augment import Augment
from modelpad.training.image_splits import Examples
from modelpad.training.parallel import ALONE, Team
from modelpad.training.seeding import derive_seed


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How batches are made. `first_epoch` is above 0 in a resumed run."""

    size: int
    seed: int
    augment: Augment | None = None
    first_epoch: int = 0


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """(images, targets): float32 (B, H, W[, C]) 0..255, and targets as the loss expects them.

    The incomplete last batch is dropped; shuffling makes it a different one in each epoch. Each
    process of a team has its part of every batch, `rows` examples.
    """

    def __init__(self, examples: Examples, plan: BatchPlan, team: Team = ALONE) -> None:
        super().__init__()
        self._examples, self._plan, self._team = examples, plan, team
        self._part = team.part(min(plan.size, len(examples.labels)))
        self.rows = self._part.stop - self._part.start
        self._targets = torch.from_numpy(examples.targets)
        self._epoch = plan.first_epoch
        self._shuffle()

    def __len__(self) -> int:
        return max(1, len(self._examples.labels) // self._plan.size)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        plan = self._plan
        chosen = self._order[index * plan.size : (index + 1) * plan.size][self._part]
        batch = torch.from_numpy(self._examples.read(chosen.numpy())).float()
        if plan.augment is not None:
            random = _generator(self._team.vary(plan.seed), self._epoch, index)
            batch = plan.augment(batch, random)
        return batch, self._targets[chosen]

    def on_epoch_end(self) -> None:
        """Shuffles for the next epoch."""
        self._epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        random = _generator(self._plan.seed, self._epoch)
        self._order = torch.randperm(len(self._examples.labels), generator=random)


def _generator(*parts: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(*parts))
