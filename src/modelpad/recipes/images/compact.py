"""The model as it will be served: a graph, in int8 where that costs next to no accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from modelpad.convert import ImportRequest, SourceModel, open_object
from modelpad.convert.graph import finish_graph, optimise
from modelpad.convert.quantize import quantize_graph
from modelpad.datasets import Split
from modelpad.errors import ConversionFailed
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json
from modelpad.recipes.images.data import read_batches
from modelpad.recipes.images.model import Served
from modelpad.runtime import load_onnxruntime
from modelpad.training.report_page import format_metric, name_metric

if TYPE_CHECKING:
    from onnx import ModelProto

ALLOWED_LOSS = 0.005
CALIBRATION = 100  # pictures
SHIFTED = 10  # per cent of familiarities may fall further than the threshold
JUDGED = 1_000  # pictures
BATCH = 32
OPERATORS = ("Conv", "Clip", "Add")  # the linear head and what follows stay float32

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Finished:
    """The model to serve, and what was measured about its precision, in words.

    `shift` is how much lower int8 makes familiarities, at most 0.
    """

    source: SourceModel
    note: str
    shift: float = 0.0

    def predict(self, split: Split) -> Outputs:
        """All outputs for all pictures; only a few pictures are in memory at a time."""
        return predict(self.source, split)


class QuantizedSource:
    """A model's int8 graph, which is the model from here on: it is tested, proved and served.

    ONNX Runtime computes with int8 only where it optimises, so this runs the optimised graph.
    """

    classes: tuple[str, ...] = ()

    def __init__(self, source: SourceModel, graph: ModelProto) -> None:
        """`graph` has the inputs and outputs of `source`."""
        self.framework, self.inputs, self.outputs = source.framework, source.inputs, source.outputs
        self.facts: Mapping[str, Json] = {**source.facts, "weights": "int8"}
        self._graph = graph
        self._session = load_onnxruntime().InferenceSession(
            graph.SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def run(self, batch: Arrays) -> Arrays:
        """The graph's outputs."""
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, self._session.run(names, batch), strict=True))

    def export(self) -> ModelProto:
        """A copy of the graph."""
        copy = type(self._graph)()
        copy.CopyFrom(self._graph)
        return copy

    def hard_samples(self) -> Sequence[Arrays]:
        """None."""
        return ()

    def files(self) -> Mapping[str, bytes | Path]:
        """None."""
        return {}


def finish_model(served: Served, judged: Split, side: int, *, quantize: bool) -> Finished:
    """The model in int8 if it does at most half a point worse on `judged`, else in float32.

    Of fewer than 200 pictures it may lose one.
    """
    objective = served.objective
    example = {"image": torch.zeros(2, side, side, 3)}
    full = open_object(served.eval(), ImportRequest(), example)
    if not quantize:
        return Finished(full, "")
    judged = judged.take(spread(len(judged), JUDGED))
    chosen = spread(len(judged), CALIBRATION)
    samples: list[Arrays] = [
        {"image": one.astype(np.float32)} for one, _ in read_batches(judged, 1, chosen)
    ]
    try:
        small = quantize_source(full, samples)
    except ConversionFailed as error:
        return Finished(full, f"Stored in float32: {error}")
    outputs = [predict(source, judged) for source in (full, small)]
    before, after = (
        objective.judge(objective.pick_scores(each), judged.targets) for each in outputs
    )
    quantized, exact = (format_metric(objective.figure, each) for each in (after, before))
    figures = (
        f"{name_metric(objective.figure)} {quantized} on {len(judged):,} pictures,"
        f" {exact} in float32"
    )
    allowed = max(ALLOWED_LOSS, 1 / len(judged))
    if after < before - allowed - 1e-9:
        return Finished(full, f"Stored in float32, as int8 would lose too much: {figures}.")
    return Finished(small, f"Stored in int8: {figures}.", find_shift(*outputs))


def quantize_source(source: SourceModel, samples: Sequence[Arrays]) -> SourceModel:
    """The model with its convolutions in int8. Raises `ConversionFailed`."""
    graph = optimise(finish_graph(source.export(), source.inputs, source.outputs))
    return QuantizedSource(source, quantize_graph(graph, "int8", samples, OPERATORS))


def find_shift(full: Outputs, small: Outputs) -> float:
    """By how much most familiarities fall; 0 if there are none or they rise."""
    if "familiarity" not in full:
        return 0.0
    changes = small["familiarity"] - full["familiarity"]
    return min(0.0, float(np.percentile(changes, SHIFTED)))


def predict(source: SourceModel, split: Split) -> Outputs:
    """All outputs of a model for all pictures, by name."""
    found: dict[str, list[NDArray[np.float32]]] = {}
    for images, _ in read_batches(split, BATCH):
        for name, value in source.run({"image": images.astype(np.float32)}).items():
            found.setdefault(name, []).append(value.astype(np.float32))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def spread(count: int, at_most: int) -> NDArray[np.int64]:
    """Evenly spread indices, of all classes where items are sorted by class."""
    return np.unique(np.linspace(0, count - 1, min(count, at_most)).astype(np.int64))
