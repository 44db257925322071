"""Texts with labels: batches of them, and their loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from modelpad.recipes.text.network import AWD, Classifier
from modelpad.recipes.text.parts import Parts
from modelpad.recipes.text.tokens import START, Corpus, Numbers

POOLED = 50  # batches are drawn from so many batches' texts, sorted by length
HEAD_DROPOUT = 0.2
MULTIPLE = 32  # of the length of a padded batch

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts and the indices of their classes, int64 (N,)."""

    corpus: Corpus
    labels: Labels


class LossPlan(Protocol):
    """How texts are learnt: the last `longest` tokens of each; `dropout` scales all dropouts."""

    @property
    def longest(self) -> int: ...
    @property
    def dropout(self) -> float: ...
    @property
    def smoothing(self) -> float: ...


def learn_batch(
    net: Classifier,
    texts: Labelled,
    chosen: Labels,
    plan: LossPlan,
    parts: Parts,
    seed: int,
    weight: float = 1.0,
) -> Tensor:
    """Sets the gradients of the mean log loss of a batch, times `weight`, and returns that."""
    batch = [cut(texts.corpus.text(index), plan.longest) for index in chosen.tolist()]
    device = parts.device

    def measure(part: slice, generator: torch.Generator) -> tuple[Tensor, None]:
        tokens, lengths = (each.to(device.name) for each in pad(batch[part]))
        labels = torch.from_numpy(texts.labels[chosen[part]]).to(device.name)
        with device.products():
            logits = net(tokens, lengths, AWD.scaled(plan.dropout, generator), HEAD_DROPOUT)
        return cross_entropy(logits, labels, label_smoothing=plan.smoothing), None

    loss, _ = parts.compute_gradients(net.parameters(), len(batch), seed, measure, weight)
    return loss


def order_batches(lengths: Labels, batch: int, seed: int) -> list[Labels]:
    """Texts of these lengths (N,) in batches of similar ones, in a random order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    pooled = batch * POOLED
    batches: list[Labels] = []
    for start in range(0, len(order), pooled):
        part = order[start : start + pooled]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[at : at + batch] for at in range(0, len(part), batch)]
    return [batches[index] for index in rng.permutation(len(batches)).tolist()]


def cut(text: Numbers, longest: int) -> Numbers:
    """The start token and the last tokens of a text: a verdict is rather at its end."""
    if len(text) <= longest:
        return text
    return np.concatenate([text[:1], text[1 - longest :]])


def pad(texts: list[Numbers]) -> tuple[Tensor, Tensor]:
    """Tokens int64 (T, B), padded on the right to a multiple of 32, and lengths int64 (B,).

    PyTorch's CPU products keep megabytes for each of the last 1,024 shapes.
    """
    lengths = np.array([len(text) for text in texts], np.int64)
    tokens = np.full((-(-int(lengths.max()) // MULTIPLE) * MULTIPLE, len(texts)), START, np.int64)
    for place, text in enumerate(texts):
        tokens[: len(text), place] = text
    return torch.from_numpy(tokens), torch.from_numpy(lengths)
