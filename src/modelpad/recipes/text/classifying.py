"""Trains a classifier of texts from an encoder that already models language.

Howard & Ruder 2018: the layers are unfrozen one after the other, lower ones learn more slowly, and
each stage has one cycle of the learning rate. It depends on torch and NumPy alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from modelpad.recipes.text.labelled import Labelled, Labels, learn_batch, order_batches, pad
from modelpad.recipes.text.language import (
    CLIP,
    STAGE,
    STATE,
    WEIGHTS,
    Indices,
    Keeper,
    Recent,
    Report,
    batch_texts,
)
from modelpad.recipes.text.network import Classifier
from modelpad.recipes.text.parts import Parts
from modelpad.recipes.text.schedule import make_optimizer, one_cycle, set_rates
from modelpad.recipes.text.tokens import Corpus
from modelpad.training.device import Device
from modelpad.training.parallel import ALONE, Team
from modelpad.training.seeding import derive_seed

CLASSES = "classes"  # the stage, in checkpoints
SLOWER = 2.6  # each layer learns that much more slowly than the one above it
AVERAGED, HORIZON = 0.998, 20  # at least a 20th of the steps at full depth are averaged
READ_AT_ONCE = 32  # texts

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ClassifierPlan:
    """How a classifier is trained: `batch` texts at a time, the last `longest` tokens of each.

    `frozen` epochs come first, in which one more block is unfrozen each time, starting with none;
    they read half as much of a text.
    """

    epochs: int
    frozen: int = 2
    batch: int = 32
    longest: int = 1024
    rate: float = 2e-3
    dropout: float = 1.0
    decay: float = 0.05
    smoothing: float = 0.05
    seed: int = 0
    keep_every: int = 200


class ClassifierTrainer:
    """A classifier in training; a checkpoint within an epoch resumes exactly.

    `average` is the moving average of the weights, which is what is kept in the end. Each process
    of a team reads its part of every batch; a last batch with too few texts for that is left out.
    """

    def __init__(
        self,
        net: Classifier,
        texts: Labelled,
        plan: ClassifierPlan,
        device: Device,
        team: Team = ALONE,
    ) -> None:
        team.part(plan.batch)  # there must be some for each
        self.team = team
        self.net, self.texts, self.plan, self.device = net.to(device.name), texts, plan, device
        self.parts = Parts(device)
        few = 0 < len(texts.labels) % plan.batch < team.size
        self.steps = -(-len(texts.labels) // plan.batch) - few
        deep = self.steps * max(1, plan.epochs - plan.frozen)
        self.average = average_weights(net, deep)
        self.done, self.epoch = 0, 0
        self.rate = 0.0
        self.optimizer = make_optimizer(rank_layers(net, plan.rate), plan.decay)

    def train_epoch(self, epoch: int, report: Report, keeper: Keeper | None = None) -> float:
        """Trains on all texts once, or on what is left of them; the mean loss of the last steps."""
        if self.done == 0:
            self.epoch = epoch
        recent = Recent()
        self.team.align(self.net.state_dict().values())
        self.net.train()
        freeze(self.net, self._trainable_blocks())
        lengths = np.minimum(self.texts.corpus.lengths, self._now().longest)
        batches = order_batches(lengths, self.plan.batch, derive_seed(self.plan.seed, epoch))
        batches = [each for each in batches if len(each) >= self.team.size]
        for chosen in batches[self.done :]:
            recent.add(self._step(chosen[self.team.part(len(chosen))]))
            self.done += 1
            if self.done % 5 == 0 or self.done == self.steps:
                report(self.done, self.steps, recent.mean())
            if keeper and self.done % self.plan.keep_every == 0 and self.done < self.steps:
                keeper.save_midway(self.write)
        self.done = 0
        return recent.mean()

    @property
    def averaged(self) -> Classifier:
        """The network with the averaged weights."""
        net = self.average.module
        assert isinstance(net, Classifier)
        return net

    def write(self, folder: Path) -> None:
        """Writes all that a training needs to go on."""
        state = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "done": self.done,
            "epoch": self.epoch,
        }
        torch.save(state, folder / STATE)
        (folder / STAGE).write_text(CLASSES, "utf-8")

    def read(self, folder: Path) -> None:
        """Reads what `write` wrote."""
        state = torch.load(folder / STATE, map_location=self.device.name, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done, self.epoch = state["done"], state["epoch"]

    def write_best(self, folder: Path) -> None:
        """Writes the averaged weights."""
        torch.save(self.average.module.state_dict(), folder / WEIGHTS)

    def read_best(self, folder: Path) -> None:
        """Puts the averaged weights into the network."""
        weights = torch.load(folder / WEIGHTS, map_location=self.device.name, weights_only=True)
        self.net.load_state_dict(weights)

    def _trainable_blocks(self) -> int:
        """How many of the upper blocks learn in this epoch; all, and the embedding, at the end."""
        blocks = self.net.encoder.shape.blocks
        return self.epoch if self.epoch < self.plan.frozen else blocks + 1

    def _now(self) -> ClassifierPlan:
        """The plan of this epoch: what few layers learn, they learn from half as long texts."""
        if self.epoch >= self.plan.frozen:
            return self.plan
        return replace(self.plan, longest=max(1, self.plan.longest // 2))

    def _share(self) -> float:
        """The share of the peak rate: a cycle for each frozen epoch, and one for all others."""
        plan = self.plan
        if self.epoch < plan.frozen:
            return one_cycle(self.done, self.steps)
        done = (self.epoch - plan.frozen) * self.steps + self.done
        return one_cycle(done, (plan.epochs - plan.frozen) * self.steps)

    def _step(self, chosen: Labels) -> Tensor:
        plan = self._now()
        seed = self.team.vary(derive_seed(plan.seed, self.epoch, self.done))
        self.rate = self._share() * plan.rate
        set_rates(self.optimizer, self._share())
        loss = learn_batch(self.net, self.texts, chosen, plan, self.parts, seed)
        self.team.average((each.grad for each in self.net.parameters()), len(chosen))
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        self.optimizer.step()
        self.average.update_parameters(self.net)
        return loss


def average_weights(net: Classifier, steps: int) -> AveragedModel:
    """A moving average of the weights, for a training of so many steps."""
    share = min(AVERAGED, max(0.0, 1 - HORIZON / steps))
    average = get_ema_multi_avg_fn(share)  # type: ignore[no-untyped-call]
    return AveragedModel(net, multi_avg_fn=average)


def rank_layers(net: Classifier, rate: float) -> Iterator[tuple[float, list[nn.Parameter]]]:
    """Groups of parameters with their rates, from the head down to the embedding."""
    yield rate, [*net.first.parameters(), *net.second.parameters()]
    encoder, depth = net.encoder, 0
    for depth, block in enumerate(reversed(encoder.layers.blocks)):
        above = list(encoder.norm.parameters()) if depth == 0 else []
        yield rate / SLOWER**depth, [*above, *block.parameters()]
    enter = getattr(encoder.layers, "enter", None)
    lowest = [] if enter is None else list(enter.parameters())
    yield rate / SLOWER ** (depth + 1), [*encoder.embedding.parameters(), *lowest]


def freeze(net: Classifier, trainable: int) -> None:
    """Lets only the head and the `trainable` upper blocks learn; with more, everything."""
    blocks = net.encoder.layers.blocks
    net.encoder.requires_grad_(trainable > len(blocks))
    if trainable:
        net.encoder.norm.requires_grad_(True)
    for block in list(blocks)[max(0, len(blocks) - trainable) :]:
        block.requires_grad_(True)


def predict(net: Classifier, corpus: Corpus, device: Device) -> Logits:
    """Logits (N, C) of whole texts, however long."""
    net.eval().to(device.name)
    found: Logits = np.empty((len(corpus), net.second.out_features), np.float32)

    def judge(chosen: Indices) -> None:
        tokens, lengths = pad([corpus.text(index) for index in chosen.tolist()])
        with device.products():
            part = net(tokens.to(device.name), lengths.to(device.name))
        found[chosen] = part.float().cpu().numpy()

    Parts(device).predict(judge, batch_texts(corpus.lengths, READ_AT_ONCE))
    return found


@dataclass(frozen=True, slots=True)
class Judged:
    """The mean log loss and the accuracy on labelled texts."""

    loss: float
    accuracy: float


def measure_classes(net: Classifier, texts: Labelled, device: Device) -> Judged:
    """How well labelled texts are classified."""
    logits = torch.from_numpy(predict(net, texts.corpus, device))
    right = torch.from_numpy(texts.labels)
    loss = float(cross_entropy(logits, right))
    return Judged(loss, float((logits.argmax(dim=1) == right).float().mean()))
