"""Teaches a classifier short texts: passages that are cut from those it was trained on.

A classifier of long texts pools few hidden vectors of a short one, and finds values that it has
never seen. All its layers learn once more, at a low rate, from whole texts and from passages in
turn. A passage may say something else than its text, and weighs less.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from modelpad.recipes.text.classifying import average_weights, measure_classes, rank_layers
from modelpad.recipes.text.labelled import Labelled, Labels, learn_batch, order_batches
from modelpad.recipes.text.language import CLIP, Report
from modelpad.recipes.text.network import Classifier
from modelpad.recipes.text.parts import Parts
from modelpad.recipes.text.schedule import make_optimizer, one_cycle, set_rates
from modelpad.recipes.text.splits import LabelledTexts
from modelpad.training.device import Device
from modelpad.training.seeding import derive_seed

SENTENCE = re.compile(r"(?<=[.!?])\s+|\s*<br />\s*|\n+")
LETTER = re.compile(r"[^\W\d_]")
SHORT = 12  # words of a sentence that is always taken
PER_TEXT = 2  # longer passages
MAX_SENTENCES = 3  # in a passage
MAX_WORDS = 40
WHOLE, PASSAGES = 4_000, 60_000  # that are learnt from, at most
ALLOWED_LOSS = 0.003  # of the accuracy on whole texts


@dataclass(frozen=True, slots=True)
class PassagePlan:
    """How passages are learnt: so many in a batch, each with that weight."""

    rate: float = 5e-4
    batch: int = 256
    weight: float = 0.5
    whole_batch: int = 32
    longest: int = 256
    dropout: float = 0.5
    decay: float = 0.05
    smoothing: float = 0.05
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Taught:
    """The accuracy on whole texts and on passages for validation, before and after; whether what
    was learnt was kept."""

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
            "It then learnt short texts: whole texts and passages of up to"
            f" {MAX_SENTENCES} sentences, in turn; accuracy on passages of validation texts, by the"
            f" label of the whole text, went from {passages}, on whole ones from {whole}."
        )


def cut_passages(part: LabelledTexts, seed: int, most: int = PASSAGES) -> LabelledTexts:
    """Passages of the texts in a random order (see `cut_text`), with the labels of these."""
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
    """All sentences of at most 12 words, and up to two passages of one to three sentences and at
    most 40 words; none of a text of a single sentence."""
    sentences = [each for each in SENTENCE.split(text) if each.strip()]
    if len(sentences) < 2:
        return []
    found = [each for each in sentences if len(each.split()) <= SHORT and LETTER.search(each)]
    for start in rng.permutation(len(sentences))[:PER_TEXT].tolist():
        several = " ".join(sentences[start : start + int(rng.integers(1, MAX_SENTENCES + 1))])
        found.append(" ".join(several.split()[:MAX_WORDS]))
    return found


def sample(texts: Labelled, most: int, seed: int) -> Labelled:
    """Some of the texts, at random."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(texts.labels))[:most])
    return Labelled(texts.corpus.take(chosen), texts.labels[chosen])


@dataclass(frozen=True, slots=True)
class Step:
    """The texts of a batch, and what its loss is multiplied with."""

    texts: Labelled
    chosen: Labels
    weight: float


def plan_steps(whole: Labelled, passages: Labelled, plan: PassagePlan) -> list[Step]:
    """All batches of both kinds, in a random order."""
    steps = []
    kinds = ((whole, plan.whole_batch, 1.0), (passages, plan.batch, plan.weight))
    for kind, (texts, batch, weight) in enumerate(kinds):
        lengths = np.minimum(texts.corpus.lengths, plan.longest)
        batches = order_batches(lengths, batch, derive_seed(plan.seed, kind))
        steps += [Step(texts, chosen, weight) for chosen in batches]
    order = np.random.default_rng(derive_seed(plan.seed, 2)).permutation(len(steps))
    return [steps[index] for index in order.tolist()]


def learn(
    net: Classifier,
    whole: Labelled,
    passages: Labelled,
    plan: PassagePlan,
    device: Device,
    report: Report,
) -> None:
    """Trains all layers in one cycle; `net` gets the moving average of its weights."""
    net.to(device.name).train().requires_grad_(True)
    optimizer = make_optimizer(rank_layers(net, plan.rate), plan.decay)
    steps = plan_steps(whole, passages, plan)
    average, parts = average_weights(net, len(steps)), Parts(device)
    for number, step in enumerate(steps):
        set_rates(optimizer, one_cycle(number, len(steps)))
        seed = derive_seed(plan.seed, 3, number)
        loss = learn_batch(net, step.texts, step.chosen, plan, parts, seed, step.weight)
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimizer.step()
        average.update_parameters(net)
        report(number + 1, len(steps), float(loss) / step.weight)
    net.load_state_dict(average.module.state_dict())


def teach_passages(
    net: Classifier,
    learned: Sequence[Labelled],
    judged: Sequence[Labelled],
    plan: PassagePlan,
    device: Device,
    report: Report,
) -> Taught:
    """Trains `net` on whole texts and passages, and keeps what it learnt if that is better.

    `learned` and `judged` are whole texts and passages, for training and validation. It must
    get more of the passages right, and of whole texts at most 0.3 points less.
    """

    def judge() -> list[float]:
        return [measure_classes(net, each, device).accuracy for each in judged]

    before, old = copy.deepcopy(net.state_dict()), judge()
    whole = sample(learned[0], WHOLE, derive_seed(plan.seed, 4))
    learn(net, whole, learned[1], plan, device, report)
    new = judge()
    kept = new[1] > old[1] and new[0] >= old[0] - ALLOWED_LOSS
    if not kept:
        net.load_state_dict(before)
    return Taught((old[0], new[0]), (old[1], new[1]), kept)
