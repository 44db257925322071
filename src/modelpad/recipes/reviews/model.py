"""The classifier of the reviews recipe, as it is trained, judged and stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from modelpad.convert.prove import open_session
from modelpad.recipes.reviews.data import Start
from modelpad.recipes.text.classifying import Logits
from modelpad.recipes.text.labelled import Labelled
from modelpad.recipes.text.network import Classifier
from modelpad.recipes.text.phrases import learn_phrases
from modelpad.recipes.text.precision import read_scores
from modelpad.recipes.text.source import ClassifierSource
from modelpad.training.calibration import fit_blend, log_loss

ALLOWED_LOSS = 0.005  # of the accuracy
JUDGED = 1_000  # texts
FEW = 200  # training texts, of whose phrases little could be learnt
LEAST_GAIN = 0.01  # of the log loss


def build_classifier(start: Start, classes: int) -> Classifier:
    """A classifier of the same classes as it is; else a new head on the encoder."""
    if start.continues and isinstance(start.net, Classifier):
        return start.net
    net = Classifier(start.net.encoder.shape, classes)
    net.encoder.load_state_dict(start.net.encoder.state_dict())
    return net


def weigh_phrases(
    source: ClassifierSource, logits: Logits, learned: Labelled, judged: Labelled, seed: int
) -> tuple[ClassifierSource, str]:
    """The model with phrases beside it if the log loss of validation texts falls by 1 %; a note.

    `logits` (N, C) are those of the network for the validation texts.
    """
    if len(learned.labels) < FEW:
        return source, ""
    vocabulary = source.net.encoder.shape.vocabulary
    phrases = learn_phrases(learned, logits.shape[1], vocabulary, seed)
    others = phrases.logits(judged.corpus)
    own, other = fit_blend(logits, others, judged.labels)
    before, after = logits / source.temperature, own * logits + other * others
    losses = [log_loss(each.astype(np.float64), judged.labels) for each in (before, after)]
    if losses[1] > (1 - LEAST_GAIN) * losses[0]:
        return source, "Pairs and triples of tokens would not make it better."
    shares = [(each.argmax(axis=1) == judged.labels).mean() for each in (before, after)]
    note = (
        f"It also weighs tokens and {phrases.count:,} pairs and triples of them: accuracy on"
        f" validation texts went from {shares[0]:.1%} to {shares[1]:.1%}, and their log loss from"
        f" {losses[0]:.4f} to {losses[1]:.4f}."
    )
    return replace(source, temperature=1 / own, phrases=phrases.scaled(other)), note


def choose_precision(
    source: ClassifierSource, judged: Labelled, *, quantize: bool
) -> tuple[ClassifierSource, str]:
    """The model in int8 if its accuracy is at most half a point lower, else in float32; a note.

    Of fewer than 200 texts it may lose one.
    """
    if not quantize:
        return source, ""
    corpus, labels = judged.corpus.first(JUDGED), judged.labels[:JUDGED]
    small = replace(source, precision="int8")
    right = []
    for each in (source, small):
        session = open_session(each.export().SerializeToString())
        scores = read_scores(session, each.sequence, corpus)
        right.append(float((scores.argmax(axis=1) == labels).mean()))
    before, after = right
    figures = f"{after:.1%} accuracy on {len(labels):,} texts, {before:.1%} in float32"
    if after < before - max(ALLOWED_LOSS, 1 / len(labels)) - 1e-9:
        return source, f"Stored in float32, as int8 would lose too much: {figures}."
    return small, f"Stored in int8: {figures}."
