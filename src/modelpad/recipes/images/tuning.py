"""Trains the layers of a classifier, in epochs that a run can save and resume.

Pretrained layers change the less, the earlier they are (Howard & Ruder, 2018, "Universal language
model fine-tuning"). The weights that are kept are a moving average of those trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from modelpad.datasets import Split
from modelpad.datasets.split import Targets
from modelpad.recipes.images.data import read_batches
from modelpad.recipes.images.model import Classifier
from modelpad.recipes.images.objectives.objective import Objective
from modelpad.training.augment import Augment
from modelpad.training.parallel import ALONE, Team
from modelpad.training.seeding import derive_seed

STATE = "state.pt"
LAYER_DECAY = 0.75  # of the learning rate, from each layer to the one before it
MIXUP = 0.2  # Zhang et al., 2018
DROPOUT = 0.2
WARM_UP = 0.2
AVERAGE = 0.99


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train: see `Architecture` for `rate` and `frozen`."""

    epochs: int
    rate: float
    frozen: int
    objective: Objective
    augment: Augment
    seed: int
    batch_size: int = 32
    weight_decay: float = 0.01


class Tuner:
    """Training in progress of a classifier, on a split; each of a team learns from a part of it."""

    def __init__(self, net: Classifier, train: Split, plan: Plan, team: Team = ALONE) -> None:
        self.net, self.train, self.plan, self.team = net, train, plan, team
        self.steps = max(1, len(train) // plan.batch_size)
        self.part = team.part(min(plan.batch_size, len(train)))
        layers = list(net.layers)
        self.frozen, self.trained = (
            nn.Sequential(*part) for part in (layers[: plan.frozen], layers[plan.frozen :])
        )
        self.frozen.requires_grad_(requires_grad=False)
        groups = list(self.group_parameters())
        rates = [group["lr"] for group in groups]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=plan.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            rates,
            total_steps=self.steps * plan.epochs,
            pct_start=WARM_UP,
        )
        self.average = AveragedModel(
            net,
            multi_avg_fn=get_ema_multi_avg_fn(AVERAGE),  # type: ignore[no-untyped-call]
            use_buffers=True,
        )

    def group_parameters(self) -> Iterator[dict[str, Any]]:
        """The parameters of each layer with their learning rate; the head's is the highest."""
        decay = LAYER_DECAY if self.net.arch.pretrained else 1.0
        rate = self.plan.rate
        for layer in reversed(self.trained):
            parameters = list(layer.parameters())
            if parameters:
                yield {"params": parameters, "lr": rate}
                rate *= decay
        yield {"params": list(self.net.head.parameters()), "lr": self.plan.rate}

    @property
    def rate(self) -> float:
        """The current learning rate of the head."""
        return float(self.optimizer.param_groups[-1]["lr"])

    def train_epoch(self, epoch: int, report: Callable[[int, float], None]) -> float:
        """Trains one epoch and returns its mean loss; `report` gets each step and its loss.

        Depends only on the seed and the number of the epoch.
        """
        torch.manual_seed(self.team.vary(derive_seed(self.plan.seed, epoch)))
        self.team.align(self.net.state_dict().values())
        self.net.train()
        losses = []
        for step, (pixels, targets) in enumerate(self.read_batches(epoch)):
            loss = self.measure(pixels, self.plan.objective.encode(targets))
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.team.average((each.grad for each in self.net.parameters()), len(pixels))
            self.optimizer.step()
            self.schedule.step()
            self.average.update_parameters(self.net)
            losses.append(loss.item())
            report(step + 1, losses[-1])
        return float(np.mean(losses))

    def measure(self, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of a batch of pixels (B, H, W, C), mixed with each other.

        `targets` (B, outputs) are encoded.
        """
        share = float(np.random.default_rng(int(torch.randint(1 << 31, ()))).beta(MIXUP, MIXUP))
        order = torch.randperm(len(pixels))
        pixels = share * pixels + (1 - share) * pixels[order]
        targets = share * targets + (1 - share) * targets[order]
        features = self.net.pool(self.trained(self.freeze(pixels)))
        logits = self.net.head(nn.functional.dropout(features, DROPOUT))
        return self.plan.objective.measure(logits, targets)

    def freeze(self, pixels: torch.Tensor) -> torch.Tensor:
        """The output of the layers that are not trained."""
        with torch.no_grad():
            result: torch.Tensor = self.frozen(self.net.scale(pixels))
            return result

    def read_batches(self, epoch: int) -> Iterator[tuple[torch.Tensor, Targets]]:
        """Augmented batches of an epoch; the next one is read while one is trained on."""
        plan, seed = self.plan, self.team.vary(self.plan.seed)
        random = torch.Generator().manual_seed(derive_seed(plan.seed, epoch, 0))
        order = torch.randperm(len(self.train), generator=random).numpy()
        order = order[: self.steps * plan.batch_size].reshape(self.steps, -1)[:, self.part]
        stream = read_batches(self.train, order.shape[1], order.reshape(-1))

        def read(step: int) -> tuple[torch.Tensor, Targets]:
            images, targets = next(stream)
            generator = torch.Generator().manual_seed(derive_seed(seed, epoch, step + 1))
            return plan.augment(torch.from_numpy(images).float(), generator), targets

        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = reader.submit(read, 0)
            for step in range(self.steps):
                batch = coming.result()
                if step + 1 < self.steps:
                    coming = reader.submit(read, step + 1)
                yield batch

    def write(self, folder: Path) -> None:
        """Saves what training needs to go on exactly."""
        state = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        torch.save(state, folder / STATE)

    def read(self, folder: Path) -> None:
        """Loads what `write` saved."""
        state = torch.load(folder / STATE, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])

    def write_best(self, folder: Path) -> None:
        """Saves the averaged weights."""
        torch.save(self.average.module.state_dict(), folder / STATE)

    def read_best(self, folder: Path) -> None:
        """Puts the averaged weights into the network."""
        self.net.load_state_dict(torch.load(folder / STATE, weights_only=True))
