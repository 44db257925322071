"""Trains a language model on corpora, in stages, and measures it.

It depends on torch and NumPy alone, and reaches the run through a narrow interface.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelpad.recipes.text.network import AWD, LanguageModel, States
from modelpad.recipes.text.parts import Parts
from modelpad.recipes.text.schedule import make_optimizer, one_cycle, set_rates
from modelpad.recipes.text.softmax import Sample, Sampler, linear_cross_entropy
from modelpad.recipes.text.tokens import START, Corpus, Numbers, count_tokens
from modelpad.training.device import Device
from modelpad.training.parallel import ALONE, Team
from modelpad.training.seeding import derive_seed

STAGE = "stage.txt"
STATE = "training.pt"
WEIGHTS = "weights.pt"
CLIP = 1.0
REPORTED = 20  # steps
SAMPLED = 2048  # tokens of the vocabulary in a step
FULL_AT_END = 0.1  # of the steps of a stage use the whole vocabulary
MEASURED_LANES = {"cpu": 32, "cuda": 256}
MEASURED_STEPS = 256
MEASURED_ROWS = {"cpu": 128, "cuda": 2048}  # whose logits are held at once, in a core's cache

Indices = NDArray[np.int64]

Report = Callable[[int, int, float], None]
"""Called with the steps done, all steps, and the recent loss."""


class Keeper(Protocol):
    """What the trainer needs of a run."""

    def save_midway(self, write: Callable[[Path], object]) -> None:
        """Saves a checkpoint within an epoch."""


@dataclass(frozen=True, slots=True)
class LanguagePlan:
    """How a stage is trained: `lanes` texts side by side, `span` tokens between updates.

    `stage` names it in checkpoints. `passes` over the corpus share one cycle of the learning rate.
    `dropout` scales all dropouts.
    A pass over a large corpus ends after `most` steps; the next one reads other texts.
    `sampled`: most steps see only part of the vocabulary. `keep_every` steps a checkpoint is saved.
    """

    stage: str
    passes: int
    lanes: int
    span: int
    rate: float = 3e-3
    dropout: float = 0.2
    decay: float = 0.05
    most: int | None = None
    sampled: bool = False
    seed: int = 0
    keep_every: int = 500

    def steps(self, corpus: Corpus) -> int:
        """The steps of one pass."""
        every = max(1, (len(corpus.tokens) - 1) // (self.lanes * self.span))
        return every if self.most is None else min(every, self.most)


@dataclass(frozen=True, slots=True)
class Measured:
    """The likelihood of texts: `nats` in all, of `tokens`, `text_bytes` and `words`."""

    nats: float
    tokens: int
    text_bytes: int
    words: int

    @property
    def bits_per_byte(self) -> float:
        """Bits for each byte of text in UTF-8."""
        return self.nats / math.log(2) / max(1, self.text_bytes)

    @property
    def loss(self) -> float:
        """Nats for each token."""
        return self.nats / max(1, self.tokens)

    @property
    def token_perplexity(self) -> float:
        """exp of the loss for each token; depends on the tokenizer."""
        return math.exp(min(50.0, self.loss))

    @property
    def word_perplexity(self) -> float:
        """exp of the nats for each word, words being separated by white space."""
        return math.exp(min(50.0, self.nats / max(1, self.words)))


class LanguageTrainer:
    """A language model in training on one corpus; a checkpoint within a pass resumes exactly.

    Each process of a team reads some of the lanes.
    """

    def __init__(
        self,
        net: LanguageModel,
        corpus: Corpus,
        plan: LanguagePlan,
        device: Device,
        team: Team = ALONE,
    ) -> None:
        self.net, self.corpus, self.plan, self.device = net, corpus, plan, device
        self.team, self.read_lanes = team, team.part(plan.lanes)
        self.net.to(device.name)
        self.parts = Parts(device)
        self.optimizer = make_optimizer([(plan.rate, net.parameters())], plan.decay)
        self.steps = plan.steps(corpus)
        self.done = 0  # steps of the current pass
        self.passed = 0
        self.states: States = self._start()
        counts = torch.from_numpy(count_tokens(corpus, net.encoder.shape.vocabulary))
        self.sampler = Sampler(counts, SAMPLED)
        self.rate = 0.0

    def train_pass(self, report: Report, keeper: Keeper | None = None) -> float:
        """Reads the corpus once, or what is left of it; the mean loss of the last steps."""
        recent = Recent()
        lanes = self._lanes()
        self.team.align(self.net.state_dict().values())
        self.net.train()
        while self.done < self.steps:
            loss = self._step(lanes)
            self.done += 1
            recent.add(loss)
            if self.done % REPORTED == 0 or self.done == self.steps:
                report(self.done, self.steps, recent.mean())
            if keeper and self.done % self.plan.keep_every == 0 and self.done < self.steps:
                keeper.save_midway(self.write)
        self.done, self.passed = 0, self.passed + 1
        self.states = self._start()
        return recent.mean()

    def write(self, folder: Path) -> None:
        """Writes all that a training needs to go on."""
        state = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "states": self.states,
            "done": self.done,
            "passed": self.passed,
        }
        torch.save(state, folder / STATE)
        (folder / STAGE).write_text(self.plan.stage, "utf-8")

    def write_best(self, folder: Path) -> None:
        """Writes the weights alone."""
        torch.save(self.net.state_dict(), folder / WEIGHTS)

    def read_best(self, folder: Path) -> None:
        """Puts the weights that `write_best` wrote into the network."""
        weights = torch.load(folder / WEIGHTS, map_location=self.device.name, weights_only=True)
        self.net.load_state_dict(weights)

    def read(self, folder: Path) -> None:
        """Reads what `write` wrote."""
        state = torch.load(folder / STATE, map_location=self.device.name, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.states, self.done, self.passed = state["states"], state["done"], state["passed"]

    def _start(self) -> States:
        return self.net.encoder.start(self.read_lanes.stop - self.read_lanes.start)

    def _lanes(self) -> Tensor:
        """This pass's tokens as int64 (steps * span + 1, lanes): the last is a target only."""
        plan = self.plan
        stream = self.corpus.shuffled(derive_seed(plan.seed, self.passed))
        lanes = to_lanes(stream, plan.lanes, self.steps * plan.span)
        return lanes[:, self.read_lanes].to(self.device.name)

    def _step(self, lanes: Tensor) -> Tensor:
        plan, overall = self.plan, self.passed * self.steps + self.done
        every = self.steps * plan.passes
        seed = self.team.vary(derive_seed(plan.seed, self.passed, self.done))
        place = self.done * plan.span
        tokens = lanes[place : place + plan.span].long()
        targets = lanes[place + 1 : place + plan.span + 1].long()
        share = one_cycle(overall, every)
        self.rate = share * plan.rate
        set_rates(self.optimizer, share)
        sampled = plan.sampled and overall < (1 - FULL_AT_END) * every
        drawn = torch.Generator().manual_seed(seed)
        sample = self.sampler.draw(targets, drawn) if sampled else None

        def measure(part: slice, generator: torch.Generator) -> tuple[Tensor, States]:
            return self._measure(tokens, targets, sample, part, generator)

        weights = self.net.parameters()
        loss, states = self.parts.compute_gradients(weights, tokens.shape[1], seed, measure)
        self.team.average((each.grad for each in self.net.parameters()), targets.numel())
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        self.optimizer.step()
        self.states = [torch.cat(each) for each in zip(*states, strict=True)]
        return loss

    def _measure(
        self,
        tokens: Tensor,
        targets: Tensor,
        sample: Sample | None,
        part: slice,
        generator: torch.Generator,
    ) -> tuple[Tensor, States]:
        """The mean loss of some lanes in a step, and the states after them."""
        read = tokens[:, part]
        keep = (read != START)[..., None].float()
        aimed = targets if sample is None else sample.places
        drop = AWD.scaled(self.plan.dropout, generator)
        with self.device.products():
            left, after = self.net(read, [state[part] for state in self.states], keep, drop)
        loss = self._loss(left.flatten(0, 1), aimed[:, part].flatten(), sample)
        return loss, [each.detach() for each in after]

    def _loss(self, left: Tensor, targets: Tensor, sample: Sample | None) -> Tensor:
        """The mean loss of the rows (N, E); `targets` are places in the sample, if there is one."""
        weight, bias = self.net.encoder.embedding.weight, self.net.bias
        dtype = self.device.dtype
        if sample is None:
            return linear_cross_entropy(left, weight, bias, targets, None, dtype)
        rows = weight[sample.tokens], bias[sample.tokens]
        return linear_cross_entropy(left, *rows, targets, sample.correction, dtype)


class Recent:
    """The mean of the losses of the last steps, fetched from the device only when asked for."""

    def __init__(self, count: int = 100) -> None:
        self._count, self._losses = count, list[Tensor]()

    def add(self, loss: Tensor) -> None:
        self._losses = [*self._losses[1 - self._count :], loss]

    def mean(self) -> float:
        return float(torch.stack(self._losses).mean()) if self._losses else 0.0


def to_lanes(stream: Numbers, lanes: int, steps: int) -> Tensor:
    """A stream of tokens in `lanes` columns, int32 (steps + 1, lanes)."""
    ahead = lanes * steps + 1
    flat = np.resize(stream, ahead) if len(stream) < ahead else stream[:ahead]
    starts = np.arange(lanes) * steps
    columns = np.stack([flat[start : start + steps + 1] for start in starts], axis=1)
    return torch.from_numpy(columns.astype(np.int32))


def measure(net: LanguageModel, corpus: Corpus, device: Device) -> Measured:
    """The likelihood of each text of a corpus on its own, its end included.

    Each text begins with the start token and zero states; the start token is also its end. Products
    are computed in the device's type.
    """
    net.eval().to(device.name)
    weight = net.encoder.embedding.weight.detach().to(device.dtype)
    rows = MEASURED_ROWS[device.name]

    def judge(chosen: Indices) -> float:
        tokens, targets, counted = pad_texts(corpus, chosen)
        states, nats = net.encoder.start(len(chosen)), 0.0
        for start in range(0, len(tokens), MEASURED_STEPS):
            part = slice(start, start + MEASURED_STEPS)
            with device.products():
                left, states = net(tokens[part].to(device.name), states)
            inside = counted[part].to(device.name)
            near = left[inside].to(weight.dtype)
            right = targets[part].to(device.name)[inside]
            for row in range(0, len(near), rows):
                some = slice(row, row + rows)
                nats += linear_nats(near[some], weight, net.bias, right[some])
        return nats

    batches = batch_texts(corpus.lengths, MEASURED_LANES[device.name])
    nats = sum(Parts(device).predict(judge, batches))
    predicted = int(corpus.offsets[-1])  # every token but the starts, and an end for each text
    return Measured(nats, predicted, int(corpus.bytes_of.sum()), int(corpus.words_of.sum()))


def linear_nats(left: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> float:
    """The summed cross-entropy of softmax(left @ weight.T + bias), as `linear_cross_entropy`."""
    logits = (left @ weight.T).float() + bias
    logits -= logits.amax(dim=1, keepdim=True)
    right = logits.gather(1, targets[:, None]).sum()  # before they are overwritten
    return float(logits.exp_().sum(dim=1).log_().sum() - right)


def batch_texts(lengths: Indices, lanes: int) -> list[Indices]:
    """Texts of similar lengths (K,), so many in a batch."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + lanes] for start in range(0, len(order), lanes)]


def pad_texts(corpus: Corpus, chosen: Indices) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens and targets int64 (T, B) of some texts, and which targets count."""
    texts = [corpus.text(index) for index in chosen.tolist()]
    longest = max(map(len, texts))
    tokens = np.full((longest + 1, len(texts)), START, np.int64)
    counted = np.zeros((longest, len(texts)), np.bool_)
    for place, text in enumerate(texts):
        tokens[: len(text), place] = text
        counted[: len(text), place] = True
    return torch.from_numpy(tokens[:-1]), torch.from_numpy(tokens[1:]), torch.from_numpy(counted)
