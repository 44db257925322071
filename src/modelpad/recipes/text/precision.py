"""What graphs make of unseen texts: whether one with weights in 8 bits is good enough.

Operators of these networks are small, so texts are divided among the cores, not the operators: a
session runs on one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from modelpad.bundle import SequenceModel
from modelpad.convert.sequences import GraphReader, Tokens
from modelpad.engine import allotted_cpus
from modelpad.recipes.text.language import batch_texts
from modelpad.recipes.text.tokens import START, Corpus
from modelpad.runtime import InferenceSession

TEXTS, PIECE = 4, 64  # that a core reads at once, and tokens of each

Found = TypeVar("Found")


def read_nats(session: InferenceSession, sequence: SequenceModel, corpus: Corpus) -> float:
    """The nats of all tokens of a corpus by a language model's graph; see `language.measure`."""

    def read(texts: list[Tokens]) -> float:
        reader, nats = GraphReader.start(session, sequence, len(texts)), 0.0
        for place in range(0, max(map(len, texts)), PIECE):
            pieces = [text[place : place + PIECE] for text in texts]
            after = [np.append(text, START)[place + 1 : place + PIECE + 1] for text in texts]
            targets = np.concatenate(
                [each[: len(piece)] for each, piece in zip(after, pieces, strict=True)]
            )
            logits = reader.read(pieces).astype(np.float64)
            largest = logits.max(axis=1)
            sums = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest
            nats += float((sums - logits[np.arange(len(targets)), targets]).sum())
        return nats

    return sum(found for _, found in _read_batches(corpus, read))


def read_scores(
    session: InferenceSession, sequence: SequenceModel, corpus: Corpus
) -> NDArray[np.float32]:
    """The scores (N, C) of all texts by a classifier's graph, in pieces."""

    def read(texts: list[Tokens]) -> NDArray[np.float32]:
        reader, output = GraphReader.start(session, sequence, len(texts)), np.empty(0, np.float32)
        for place in range(0, max(map(len, texts)), PIECE):
            output = reader.read([text[place : place + PIECE] for text in texts])
        return output

    orders, found = zip(*_read_batches(corpus, read), strict=True)
    scores = np.concatenate(found)
    restored = np.empty_like(scores)
    restored[np.concatenate(orders)] = scores
    return restored


def _read_batches(
    corpus: Corpus, read: Callable[[list[Tokens]], Found]
) -> list[tuple[NDArray[np.int64], Found]]:
    """The places of the texts of each batch, and what `read` makes of them; long texts first."""
    batches = batch_texts(corpus.lengths, TEXTS)[::-1]

    def compute(batch: NDArray[np.int64]) -> Found:
        return read([corpus.text(index).astype(np.int64) for index in batch.tolist()])

    with ThreadPoolExecutor(allotted_cpus(), "texts") as pool:
        return list(zip(batches, pool.map(compute, batches), strict=True))
