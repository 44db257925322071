"""Exports a model as an ONNX graph and checks that the graph predicts the same.

Both importing and training call `prove`. It sees frameworks only as a `SourceModel`, and does not
depend on bundles or stores.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.convert.batching import Batching, pick_batch
from modelpad.convert.graph import finish_graph, optimise, save_graph
from modelpad.convert.parity import BATCHES, TOLERANCE, Parity, Pick, Run, check_parity
from modelpad.convert.quantize import TOLERANCES, quantize_graph
from modelpad.convert.reference import Reference
from modelpad.errors import ConversionFailed, ParityFailed, first_line
from modelpad.fields.arrays import Arrays
from modelpad.runtime import InferenceSession, load_onnxruntime

if TYPE_CHECKING:
    from onnx import ModelProto

TIMED_RUNS = 15
FEW_SAMPLES = 256  # up to this many are compared in small batches, more in large ones
LARGE_BATCH = 500
GRAPH_NOT_BATCHED = "items are predicted one at a time, since the converted graph fails on several"


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """A graph's size in bytes, and the median milliseconds of one prediction on one thread."""

    bytes: int
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Proved:
    """A graph that passed the parity check: its files, parity, size and speed.

    `before` describes the graph before quantization, if it was quantized. `note` says why items are
    not joined, if the source model joins them but the graph cannot.
    """

    paths: tuple[Path, ...]
    parity: Parity
    facts: GraphFacts
    before: tuple[GraphFacts, Parity] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a graph has to prove: it predicts as the source model does for the reference's items.

    `labels` pick the class of each item from an output, by its name. `quanta` are the absolute
    differences that an output of a quantized model may have. The first `typical` items are samples
    as users send them, the others are hard on purpose; by default all are typical.
    """

    reference: Reference
    batching: Batching
    labels: Mapping[str, Pick] = field(default_factory=dict)
    quanta: Mapping[str, float] = field(default_factory=dict)
    typical: int | None = None

    def only_typical(self) -> Claim:
        """The claim for typical items alone: quantization keeps no extreme values."""
        reference = self.reference
        items = reference.items[: self.typical]
        return replace(self, reference=Reference(reference.source, items, reference.axes))


def prove(
    graph: ModelProto,
    claim: Claim,
    path: Path,
    *,
    tolerance: float | None = None,
    quantize: str | None = None,
) -> Proved:
    """Writes an exported graph to `path`, after checking that it predicts as its source model.

    Weights too large for a protobuf are written next to `path`. With `quantize`, parity is checked
    before and after.

    Raises:
        ConversionFailed: ONNX Runtime cannot load the graph.
        ParityFailed: the graph fails, or its predictions differ from the model's.
    """
    source = claim.reference.source
    finished = optimise(finish_graph(graph, source.inputs, source.outputs))
    proof = _Proof(claim, path)
    if quantize is None:
        return proof.check(finished, TOLERANCE if tolerance is None else tolerance)
    full = proof.check(finished, TOLERANCE)
    accepted = TOLERANCES.get(quantize, TOLERANCE) if tolerance is None else tolerance
    typical = claim.only_typical()
    items = [typical.reference.stack((index,)) for index in typical.reference.alike()]
    try:
        small = _Proof(typical, path).check(quantize_graph(finished, quantize, items), accepted)
    except ParityFailed as error:
        error.hint = f"{quantize} loses too much: calibrate it with real --samples, or do without."
        raise
    return Proved(small.paths, small.parity, small.facts, (full.facts, full.parity), small.note)


@dataclass(frozen=True, slots=True)
class _Proof:
    claim: Claim
    path: Path

    def check(self, graph: ModelProto, tolerance: float) -> Proved:
        paths = save_graph(graph, self.path)
        run = self._open(paths[0])
        parity, note = self._compare(run, tolerance)
        size = sum(path.stat().st_size for path in paths)
        latency = measure_latency(run, self.claim.reference.stack((0,)))
        return Proved(tuple(paths), parity, GraphFacts(size, latency), note=note)

    def _open(self, path: Path) -> Run:
        session = open_session(path)
        names = [spec.name for spec in self.claim.reference.source.outputs]

        def run(batch: Arrays) -> Arrays:
            try:
                return dict(zip(names, session.run(names, batch), strict=True))
            except Exception as error:
                raise graph_failure(error, batch) from error

        return run

    def _compare(self, run: Run, tolerance: float) -> tuple[Parity, str]:
        """Parity, and why items are not joined if it is because of the graph."""
        claim = self.claim
        batches = self._batches(run)
        parity = check_parity(
            claim.reference,
            run,
            batches=batches,
            tolerance=tolerance,
            labels=claim.labels,
            quanta=claim.quanta,
        )
        return parity, GRAPH_NOT_BATCHED if self.claim.batching.joins and batches == (1,) else ""

    def _batches(self, run: Run) -> tuple[int, ...]:
        """The sizes of batches to compare."""
        reference = self.claim.reference
        if not self.claim.batching.joins:
            return (1,)
        try:
            run(reference.stack(pick_batch(reference.alike())))
        except ParityFailed:
            return (1,)
        if len(reference.items) <= FEW_SAMPLES:
            return BATCHES
        few = Reference(reference.source, reference.items[: 2 * max(BATCHES)])
        check_parity(few, run, tolerance=TOLERANCE)
        return (min(LARGE_BATCH, len(reference.items)),)


def open_session(graph: Path | bytes) -> InferenceSession:
    """Loads a graph, or its file, in ONNX Runtime, on one thread. Raises `ConversionFailed`."""
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session: InferenceSession = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
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
        hint="The source model does not: the exporter has lost something. If the model has a fixed"
        " size, such as a sequence length, give it: --input 'tensor:DTYPE[SIDES]'.",
        node=node[1] if node else None,
    )


def measure_latency(run: Run, batch: Arrays) -> float:
    """Median milliseconds of one prediction."""
    times: list[float] = []
    for _ in range(TIMED_RUNS):
        begin = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - begin)
        if sum(times) > 3:
            break
    return 1000 * statistics.median(times)
