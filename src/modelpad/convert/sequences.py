"""Proves that the graph of a sequence model reads token sequences as its source model does.

The graph gets texts in pieces of any length, several texts at a time and some of them without a
token, with carried states; the source model gets each text as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from modelpad.bundle import SequenceModel
from modelpad.convert.graph import save_graph
from modelpad.convert.parity import Parity, compare
from modelpad.convert.prove import GraphFacts, Proved, measure_latency, open_session
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json
from modelpad.runtime import InferenceSession

if TYPE_CHECKING:
    from onnx import ModelProto

Tokens = NDArray[np.int64]
Outputs = NDArray[np.float32]

BATCHES = (1, 7)
LONGEST_PIECE = 40
SEED = 0


class SequenceSource(Protocol):
    """A trained model that reads token sequences, ready to be run and exported."""

    @property
    def framework(self) -> str:
        """The framework's name, in lower case."""

    @property
    def facts(self) -> Mapping[str, Json]:
        """Kind and size of the model, for the manifest and the report."""

    @property
    def sequence(self) -> SequenceModel:
        """How the graph reads a sequence."""

    def run(self, tokens: Tokens) -> Outputs:
        """The source model's outputs for a whole sequence (T,), its start included.

        (T, V) logits of the next token after each, or (C,) scores.
        """

    def export(self) -> ModelProto:
        """The model as an ONNX graph."""

    def files(self) -> Mapping[str, bytes | Path]:
        """The files of the bundle beside the graph: the tokenizer."""


@dataclass(slots=True)
class GraphReader:
    """Runs a sequence model's graph and carries the states of a batch of sequences."""

    session: InferenceSession
    sequence: SequenceModel
    states: dict[str, NDArray[Any]]

    @classmethod
    def start(cls, session: InferenceSession, sequence: SequenceModel, count: int) -> GraphReader:
        """A reader of `count` sequences before their first token."""
        states = {
            each.input: np.zeros((count, *(max(0, side) for side in each.shape)), each.dtype)
            for each in sequence.states
        }
        return cls(session, sequence, states)

    def feeds(self, pieces: Sequence[Tokens]) -> Arrays:
        """The graph's inputs for a piece of each sequence; a piece may be empty."""
        sequence = self.sequence
        lengths = np.array([len(piece) for piece in pieces], np.int64)
        tokens = np.zeros((len(pieces), max(1, int(lengths.max()))), np.int64)
        for row, piece in zip(tokens, pieces, strict=True):
            row[: len(piece)] = piece
        feeds: dict[str, NDArray[Any]] = {sequence.tokens: tokens, sequence.lengths: lengths}
        if sequence.positions is not None:
            inside = np.arange(tokens.shape[1]) < lengths[:, None]
            feeds[sequence.positions] = np.flatnonzero(inside).astype(np.int64)
        return {**feeds, **self.states}

    def read(self, pieces: Sequence[Tokens]) -> Outputs:
        """The output after a piece of each sequence: (R, V) for all tokens, or (B, C)."""
        found = self.session.run(self.sequence.output_names, self.feeds(pieces))
        names = [each.input for each in self.sequence.states]
        self.states = dict(zip(names, found[1:], strict=True))
        output: Outputs = found[0].astype(np.float32, copy=False)
        return output


def read_in_pieces(
    session: InferenceSession,
    sequence: SequenceModel,
    texts: Sequence[Tokens],
    rng: np.random.Generator,
) -> list[Outputs]:
    """What the graph makes of some texts, in random pieces: (T, V) each, or (C,)."""
    reader = GraphReader.start(session, sequence, len(texts))
    places = np.zeros(len(texts), np.int64)
    parts: list[list[Outputs]] = [[] for _ in texts]
    lengths = np.array([len(text) for text in texts])
    while (places < lengths).any():
        sizes = np.minimum(rng.integers(0, LONGEST_PIECE, len(texts)), lengths - places)
        pieces = [
            text[place : place + size]
            for text, place, size in zip(texts, places, sizes, strict=True)
        ]
        output = reader.read(pieces)
        places += sizes
        if sequence.positions is None:
            parts = [[row[None]] for row in output]
            continue
        for part, rows in zip(parts, np.split(output, np.cumsum(sizes)[:-1]), strict=True):
            part.append(rows)
    joined = [np.concatenate(part) for part in parts]
    return [part[0] for part in joined] if sequence.positions is None else joined


def prove_sequences(
    source: SequenceSource, texts: Sequence[Tokens], path: Path, tolerance: float
) -> Proved:
    """Writes the graph to `path`, after comparing it with the source model on `texts`.

    Raises:
        ConversionFailed: ONNX Runtime cannot load the graph.
        ParityFailed: an output differs by more than `tolerance` of the largest number in it.
    """
    graph = source.export()
    paths = save_graph(graph, path)
    session = open_session(paths[0])
    sequence = source.sequence
    rng = np.random.default_rng(SEED)
    expected = [source.run(text) for text in texts]
    worst, worst_relative, same, counted = 0.0, 0.0, 0, 0
    for size in BATCHES:
        for start in range(0, len(texts), size):
            batch = slice(start, start + size)
            found = read_in_pieces(session, sequence, texts[batch], rng)
            for one, other in zip(expected[batch], found, strict=True):
                differ = compare(sequence.output, one, other, size, tolerance)
                worst, worst_relative = max(worst, differ[0]), max(worst_relative, differ[1])
                agreed = one.argmax(axis=-1) == other.argmax(axis=-1)
                same, counted = same + int(np.sum(agreed)), counted + np.size(agreed)
    parity = Parity(len(texts), worst, worst_relative, same / counted, tolerance, BATCHES)
    return Proved(tuple(paths), parity, measure_graph(session, sequence, paths, texts[0][:1]))


def measure_graph(
    session: InferenceSession, sequence: SequenceModel, paths: Sequence[Path], token: Tokens
) -> GraphFacts:
    """The graph's size, and how long it takes for one more token of one text."""
    reader = GraphReader.start(session, sequence, 1)
    feeds = reader.feeds([token])

    def run(batch: Arrays) -> Arrays:
        names = sequence.output_names
        return dict(zip(names, session.run(names, batch), strict=True))

    size = sum(path.stat().st_size for path in paths)
    return GraphFacts(size, measure_latency(run, feeds))
