"""The classifier of the reviews recipe, as it is trained, judged and stored."""

from __future__ import annotations

from dataclasses import replace

from modelpad.recipes.reviews.data import Start
from modelpad.recipes.text.labelled import Labelled
from modelpad.recipes.text.network import Classifier
from modelpad.recipes.text.precision import open_graph, read_scores
from modelpad.recipes.text.source import ClassifierSource

ALLOWED_LOSS = 0.005  # of the accuracy
JUDGED = 1_000  # texts


def build_classifier(start: Start, classes: int) -> Classifier:
    """A classifier of the same classes as it is; else a new head on the encoder."""
    if start.continues and isinstance(start.net, Classifier):
        return start.net
    net = Classifier(start.net.encoder.shape, classes)
    net.encoder.load_state_dict(start.net.encoder.state_dict())
    return net


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
        session = open_graph(each.export().SerializeToString())
        scores = read_scores(session, each.sequence, corpus)
        right.append(float((scores.argmax(axis=1) == labels).mean()))
    before, after = right
    figures = f"{after:.1%} accuracy on {len(labels):,} texts, {before:.1%} in float32"
    if after < before - max(ALLOWED_LOSS, 1 / len(labels)) - 1e-9:
        return source, f"Stored in float32, as int8 would lose too much: {figures}."
    return small, f"Stored in int8: {figures}."
