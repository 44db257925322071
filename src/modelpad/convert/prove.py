"""Exports a model as an ONNX graph and checks that the graph predicts the same.

Both importing and training call `prove`. It sees frameworks only as a `SourceModel`, and does not
depend on bundles or stores.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.convert.graph import finish_graph, optimise, save_graph
from modelpad.convert.input_plan import InputPlan
from modelpad.convert.output_plan import OutputPlan
from modelpad.convert.parity import BATCHES, TOLERANCE, Parity, Run, check_parity
from modelpad.convert.quantize import TOLERANCES, quantize_graph
from modelpad.convert.samples import stack_samples
from modelpad.convert.source import SourceModel
from modelpad.convert.steps import apply_steps
from modelpad.errors import ConversionFailed, ParityFailed, first_line
from modelpad.fields import Label
from modelpad.fields.arrays import Arrays
from modelpad.runtime import InferenceSession, load_onnxruntime

if TYPE_CHECKING:
    from onnx import ModelProto

TIMED_RUNS = 15
FEW_SAMPLES = 256  # up to this many are compared in small batches, more in large ones
LARGE_BATCH = 500


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """A graph's size in bytes, and the median milliseconds of one prediction on one thread."""

    bytes: int
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Proved:
    """A graph that passed the parity check: its files, parity, size and speed.

    `before` describes the graph before quantization, if it was quantized.
    """

    paths: tuple[Path, ...]
    parity: Parity
    facts: GraphFacts
    before: tuple[GraphFacts, Parity] | None = None


def prove(
    source: SourceModel,
    inputs: Sequence[InputPlan],
    outputs: Sequence[OutputPlan],
    samples: Sequence[Arrays],
    path: Path,
    *,
    tolerance: float | None = None,
    quantize: str | None = None,
) -> Proved:
    """Writes the model as an ONNX graph at `path`, after checking that it predicts the same.

    `samples` are decoded values by input field, without a batch axis. Weights too large for a
    protobuf are written next to `path`. With `quantize`, parity is checked before and after.

    Raises:
        ConversionFailed: the model cannot be exported, or ONNX Runtime cannot load the graph.
        ParityFailed: the graph fails, or its predictions differ from the model's.
    """
    graph = optimise(finish_graph(source.export(), inputs, outputs))
    proof = _Proof(make_reference(source, inputs, outputs), samples, outputs, path)
    if quantize is None:
        return proof.check(graph, TOLERANCE if tolerance is None else tolerance)
    full = proof.check(graph, TOLERANCE)
    accepted = TOLERANCES.get(quantize, TOLERANCE) if tolerance is None else tolerance
    small = proof.check(quantize_graph(graph, quantize, samples), accepted)
    return Proved(small.paths, small.parity, small.facts, before=(full.facts, full.parity))


def make_reference(
    source: SourceModel, inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan]
) -> Run:
    """The source model's predictions by output field, for decoded input fields."""

    def reference(batch: Arrays) -> Arrays:
        raw = run_source(source, inputs, batch)
        return {plan.field.name: apply_steps(plan.steps, raw[plan.spec.name]) for plan in outputs}

    return reference


def run_source(source: SourceModel, inputs: Sequence[InputPlan], batch: Arrays) -> Arrays:
    """The source model's outputs for decoded fields, preprocessed in NumPy.

    Raises `ConversionFailed` if the model fails.
    """
    prepared = {plan.spec.name: apply_steps(plan.steps, batch[plan.field.name]) for plan in inputs}
    try:
        return source.run(prepared)
    except Exception as error:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in prepared.items())
        raise ConversionFailed(
            f"The {source.framework} model fails on {shapes}: {first_line(error, 200)}",
            hint="Describe its inputs with --input, or give suitable --samples.",
        ) from error


@dataclass(frozen=True, slots=True)
class _Proof:
    """What a graph is compared with: the source model's predictions for decoded `samples`."""

    reference: Run
    samples: Sequence[Arrays]
    outputs: Sequence[OutputPlan]
    path: Path

    def check(self, graph: ModelProto, tolerance: float) -> Proved:
        paths = save_graph(graph, self.path)
        run = self._open(paths[0])
        parity = self._compare(run, tolerance)
        size = sum(path.stat().st_size for path in paths)
        return Proved(tuple(paths), parity, GraphFacts(size, measure_latency(run, self.samples)))

    def _open(self, path: Path) -> Run:
        session = open_session(path)
        names = [plan.field.name for plan in self.outputs]

        def run(batch: Arrays) -> Arrays:
            try:
                return dict(zip(names, session.run(names, batch), strict=True))
            except Exception as error:
                raise graph_failure(error, batch) from error

        return run

    def _compare(self, run: Run, tolerance: float) -> Parity:
        labels = [plan.field.name for plan in self.outputs if isinstance(plan.field, Label)]
        batches: tuple[int, ...] = BATCHES
        if len(self.samples) > FEW_SAMPLES:
            few = self.samples[: 2 * max(BATCHES)]
            check_parity(self.reference, run, few, tolerance=tolerance)
            batches = (min(LARGE_BATCH, len(self.samples)),)
        return check_parity(
            self.reference, run, self.samples, labels=labels, tolerance=tolerance, batches=batches
        )


def open_session(path: Path) -> InferenceSession:
    """Loads the graph in ONNX Runtime, on one thread. Raises `ConversionFailed`."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session: InferenceSession = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ConversionFailed(
            f"ONNX Runtime cannot load the converted graph: {first_line(error, 300)}",
            hint="Please report this, with the model's framework and version.",
        ) from error
    return session


def graph_failure(error: Exception, batch: Arrays) -> ParityFailed:
    """The error for a graph that fails where the source model does not; it names the node."""
    text = str(error)
    node = re.search(r"Name:'([^']*)'", text)
    reason = re.search(r"Status Message: (.*)", text)
    size = len(next(iter(batch.values())))
    return ParityFailed(
        f"The converted graph fails on a batch of {size}"
        + (f" in the node {node[1]!r}" if node else "")
        + f": {reason[1][:200] if reason else first_line(error, 200)}",
        hint="The source model probably has a fixed size, such as a batch size or sequence length.",
        node=node[1] if node else None,
    )


def measure_latency(run: Run, samples: Sequence[Arrays]) -> float:
    """Median milliseconds of one prediction."""
    batch = stack_samples(samples[:1])
    times: list[float] = []
    for _ in range(TIMED_RUNS):
        begin = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - begin)
        if sum(times) > 3:
            break
    return 1000 * statistics.median(times)
