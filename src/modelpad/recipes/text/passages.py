"""Teaches a classifier short texts: passages that are cut from those it was trained on.

A classifier of long texts pools few hidden vectors of a short one, and finds values that it has
never seen. Only its head is trained for them, on the pooled vectors of whole texts and of passages
(last-layer retraining, Kirichenko et al. 2023). A passage may say something else than its text, and
weighs less.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from modelpad.recipes.text.classifying import HEAD_DROPOUT, Labels, read_pooled
from modelpad.recipes.text.fitting import Labelled
from modelpad.recipes.text.network import Classifier
from modelpad.recipes.text.schedule import make_optimizer, one_cycle, set_rates
from modelpad.recipes.text.splits import LabelledTexts
from modelpad.training.device import Device
from modelpad.training.seeding import derive_seed

SENTENCE = re.compile(r"(?<=[.!?])\s+|\s*<br />\s*|\n+")
PER_TEXT = 4
MAX_SENTENCES = 3  # in a passage
MAX_WORDS = 40
WHOLE, PASSAGES = 10_000, 40_000  # that are learnt from, at most
WEIGHT = 0.25  # of a passage
EPOCHS, BATCH, RATE, DECAY = 6, 256, 1e-3, 0.05
ALLOWED_LOSS = 0.003  # of the accuracy on whole texts

Pooled = NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Read:
    """Pooled vectors (N, 3 D) of texts, and their labels (N,)."""

    pooled: Pooled
    labels: Labels

    def accuracy(self, net: Classifier) -> float:
        """The share that a classifier's head gets right."""
        return float((judge(net, self.pooled).argmax(dim=1).numpy() == self.labels).mean())


@dataclass(frozen=True, slots=True)
class Refitted:
    """The accuracy on whole texts and on passages for validation, before and after; whether the
    new head was kept."""

    whole: tuple[float, float]
    passages: tuple[float, float]
    kept: bool

    def describe(self) -> str:
        """A sentence for the card."""
        passages = " to ".join(f"{100 * each:.1f} %" for each in self.passages)
        whole = " to ".join(f"{100 * each:.1f} %" for each in self.whole)
        if not self.kept:
            return ""
        return (
            "The head was trained again on whole texts and passages of up to"
            f" {MAX_SENTENCES} sentences; accuracy on passages of validation texts, by the label"
            f" of the whole text, went from {passages}, on whole ones from {whole}."
        )


def cut_passages(part: LabelledTexts, seed: int, most: int = PASSAGES) -> LabelledTexts:
    """Up to four passages of each text: a sentence, or two or three, of at most 40 words."""
    rng = np.random.default_rng(seed)
    texts: list[str] = []
    labels: list[int] = []
    for index in rng.permutation(len(part.texts)).tolist():
        if len(texts) >= most:
            break
        found = cut_text(part.texts[index], rng)
        texts += found
        labels += [int(part.labels[index])] * len(found)
    return LabelledTexts(texts, np.array(labels, np.int64))


def cut_text(text: str, rng: np.random.Generator) -> list[str]:
    """Passages of one text; none of a text of a single sentence."""
    sentences = [each for each in SENTENCE.split(text) if each.strip()]
    if len(sentences) < 2:
        return []
    found = []
    for start in rng.permutation(len(sentences))[:PER_TEXT].tolist():
        several = " ".join(sentences[start : start + int(rng.integers(1, MAX_SENTENCES + 1))])
        found.append(" ".join(several.split()[:MAX_WORDS]))
    return found


def judge(net: Classifier, pooled: Pooled) -> Tensor:
    """Logits (N, C) of pooled vectors."""
    net.eval()
    with torch.no_grad():
        return net.judge(torch.from_numpy(pooled).float())


def sample(texts: Labelled, most: int, seed: int) -> Labelled:
    """Some of the texts, at random."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(texts.labels))[:most])
    return Labelled(texts.corpus.take(chosen), texts.labels[chosen])


def read(net: Classifier, texts: Labelled, device: Device) -> Read:
    """The pooled vectors of texts."""
    return Read(read_pooled(net, texts.corpus, device).astype(np.float16), texts.labels)


def fit_head(net: Classifier, whole: Read, passages: Read, seed: int) -> None:
    """Trains the head on both; the encoder stays as it is."""
    pooled = torch.from_numpy(np.concatenate([whole.pooled, passages.pooled]))
    labels = torch.from_numpy(np.concatenate([whole.labels, passages.labels]))
    weights = torch.cat(
        [torch.ones(len(whole.labels)), torch.full((len(passages.labels),), WEIGHT)]
    )
    head = [*net.first.parameters(), *net.second.parameters()]
    for each in head:
        each.requires_grad_(True)
    optimizer = make_optimizer([(RATE, head)], DECAY)
    steps = EPOCHS * -(-len(labels) // BATCH)
    torch.manual_seed(derive_seed(seed, 1))
    net.train()
    step = 0
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(labels)).split(BATCH):  # type: ignore[no-untyped-call]
            set_rates(optimizer, one_cycle(step, steps))
            logits = net.judge(pooled[chosen].float(), HEAD_DROPOUT)
            losses = cross_entropy(logits, labels[chosen], reduction="none")
            loss = (losses * weights[chosen]).sum() / weights[chosen].sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            step += 1


def refit_head(
    net: Classifier,
    learned: Sequence[Labelled],
    judged: Sequence[Labelled],
    device: Device,
    seed: int,
) -> Refitted:
    """Trains the head of `net` on whole texts and passages, and keeps it if it is better.

    `learned` and `judged` are whole texts and passages, for training and validation. The head must
    get more of the passages right, and of whole texts at most 0.3 points less.
    """
    whole = sample(learned[0], WHOLE, derive_seed(seed, 2))
    inputs = [read(net, each, device) for each in (whole, learned[1])]
    checks = [read(net, each, device) for each in judged]
    net.cpu()
    before = copy.deepcopy([net.first.state_dict(), net.second.state_dict()])
    old = [each.accuracy(net) for each in checks]
    fit_head(net, inputs[0], inputs[1], seed)
    new = [each.accuracy(net) for each in checks]
    kept = new[1] > old[1] and new[0] >= old[0] - ALLOWED_LOSS
    if not kept:
        net.first.load_state_dict(before[0])
        net.second.load_state_dict(before[1])
    return Refitted((old[0], new[0]), (old[1], new[1]), kept)
