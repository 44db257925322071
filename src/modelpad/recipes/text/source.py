"""Trained networks as sources of bundles: what they are, how they run, and their graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from modelpad.bundle import SequenceModel, SequenceState
from modelpad.convert.sequences import Outputs, Tokens
from modelpad.foreign_json import Json
from modelpad.recipes.text.graph import (
    EMBEDDING,
    LENGTHS,
    LOGITS,
    POSITIONS,
    SCORES,
    TOKENS,
    export_classifier,
    export_language,
)
from modelpad.recipes.text.graph_builder import Precision
from modelpad.recipes.text.network import Classifier, LanguageModel, Shape
from modelpad.recipes.text.phrases import Phrases
from modelpad.recipes.text.tokens import START, Corpus, join_parts
from modelpad.training.calibration import soften

if TYPE_CHECKING:
    from onnx import ModelProto

TOKENIZER = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class LanguageSource:
    """A language model; `tokenizer` is the content of its file."""

    net: LanguageModel
    tokenizer: str
    precision: Precision = "float32"
    framework: str = "pytorch"

    @property
    def facts(self) -> Mapping[str, Json]:
        """The network's shape, and the type of its weights."""
        return describe_shape(self.net.encoder.shape, self.precision)

    @property
    def sequence(self) -> SequenceModel:
        """The graph's tensors."""
        states = describe_states(self.net.encoder.layers.state_sizes)
        return SequenceModel(
            TOKENIZER, TOKENS, LENGTHS, POSITIONS, LOGITS, states, start=START, end=(START,)
        )

    def run(self, tokens: Tokens) -> Outputs:
        """Logits (T, V) of the token after each."""
        self.net.eval().cpu()
        with torch.no_grad():
            left, _ = self.net(torch.from_numpy(tokens)[:, None], self.net.encoder.start(1))
            logits: Outputs = self.net.logits(left[:, 0]).numpy()
        return logits

    def export(self) -> ModelProto:
        """The graph."""
        return export_language(self.net, self.precision)

    def files(self) -> Mapping[str, bytes | Path]:
        """The tokenizer."""
        return {TOKENIZER: self.tokenizer.encode("utf-8")}


@dataclass(frozen=True, slots=True)
class ClassifierSource:
    """A classifier; its scores are softmax(logits / temperature + the logits of `phrases`)."""

    net: Classifier
    tokenizer: str
    temperature: float = 1.0
    precision: Precision = "float32"
    phrases: Phrases | None = None
    framework: str = "pytorch"

    @property
    def facts(self) -> Mapping[str, Json]:
        """The network's shape, and the type of its weights."""
        return describe_shape(self.net.encoder.shape, self.precision)

    @property
    def parameters(self) -> int:
        """The number of weights."""
        others = 0 if self.phrases is None else self.phrases.weights.size
        return others + sum(each.numel() for each in self.net.parameters())

    @property
    def sequence(self) -> SequenceModel:
        """The graph's tensors."""
        width = self.net.encoder.shape.width
        sizes = [*self.net.encoder.layers.state_sizes, width, width, width, 1]
        if self.phrases is not None:
            sizes += [2, self.phrases.weights.shape[1]]
        states = describe_states(sizes)
        return SequenceModel(
            TOKENIZER, TOKENS, LENGTHS, None, SCORES, states, start=START, embedding=EMBEDDING
        )

    def run(self, tokens: Tokens) -> Outputs:
        """Probabilities (C,) of a whole text."""
        self.net.eval().cpu()
        with torch.no_grad():
            read = self.net(torch.from_numpy(tokens)[:, None], torch.tensor([len(tokens)]))
        logits: NDArray[np.float32] = read.numpy() / self.temperature
        if self.phrases is not None:
            logits = logits + self.phrases.logits(as_corpus(tokens))
        scores: NDArray[np.float32] = soften(logits)[0]
        return scores

    def export(self) -> ModelProto:
        """The graph."""
        return export_classifier(self.net, self.temperature, self.precision, self.phrases)

    def files(self) -> Mapping[str, bytes | Path]:
        """The tokenizer."""
        return {TOKENIZER: self.tokenizer.encode("utf-8")}


def as_corpus(tokens: Tokens) -> Corpus:
    """A corpus of one text, whose bytes and words are not counted."""
    return join_parts([tokens.astype(np.uint16)], *np.zeros((2, 1), np.int64))


def describe_states(sizes: list[int]) -> tuple[SequenceState, ...]:
    """The states of a graph, float32."""
    return tuple(
        SequenceState(f"state_{number}", f"next_state_{number}", "float32", (size,))
        for number, size in enumerate(sizes)
    )


def describe_shape(shape: Shape, precision: Precision) -> dict[str, Json]:
    """A network's shape as facts of a manifest."""
    return {**shape.to_dict(), "weights": precision}
