"""Whether a graph with weights in 8 bits is good enough, by what it does to unseen texts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelpad.bundle import SequenceModel
from modelpad.convert.sequences import GraphReader, Tokens
from modelpad.recipes.text.tokens import START, Corpus
from modelpad.runtime import InferenceSession, load_onnxruntime

TEXTS, PIECE = 16, 64  # that are read at once, and tokens of each


def open_graph(content: bytes) -> InferenceSession:
    """A session of a graph in memory, on all cores."""
    session: InferenceSession = load_onnxruntime().InferenceSession(
        content, providers=["CPUExecutionProvider"]
    )
    return session


def read_nats(session: InferenceSession, sequence: SequenceModel, corpus: Corpus) -> float:
    """The nats of all tokens of a corpus by a language model's graph; see `language.measure`."""
    total = 0.0
    for start in range(0, len(corpus), TEXTS):
        stop = min(start + TEXTS, len(corpus))
        texts = [corpus.text(index).astype(np.int64) for index in range(start, stop)]
        reader = GraphReader.start(session, sequence, len(texts))
        for place in range(0, max(map(len, texts)), PIECE):
            pieces = [text[place : place + PIECE] for text in texts]
            after = [np.append(text, START)[place + 1 : place + PIECE + 1] for text in texts]
            targets = np.concatenate(
                [each[: len(piece)] for each, piece in zip(after, pieces, strict=True)]
            )
            logits = reader.read(pieces).astype(np.float64)
            largest = logits.max(axis=1)
            sums = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest
            total += float((sums - logits[np.arange(len(targets)), targets]).sum())
    return total


def read_scores(
    session: InferenceSession, sequence: SequenceModel, corpus: Corpus
) -> NDArray[np.float32]:
    """The scores (N, C) of all texts by a classifier's graph, in pieces."""
    order = np.argsort(corpus.lengths, kind="stable")
    found: list[NDArray[np.float32]] = []
    for start in range(0, len(order), TEXTS):
        texts: list[Tokens] = [
            corpus.text(index).astype(np.int64) for index in order[start : start + TEXTS].tolist()
        ]
        reader = GraphReader.start(session, sequence, len(texts))
        output = np.empty(0, np.float32)
        for place in range(0, max(map(len, texts)), PIECE * 4):
            output = reader.read([text[place : place + PIECE * 4] for text in texts])
        found.append(output)
    scores = np.concatenate(found)
    restored = np.empty_like(scores)
    restored[order] = scores
    return restored
