"""A bundle loaded into ONNX Runtime, or into its framework in a process of its own.

A session runs batches of the graph's own tensors; its `typed` side decodes values by the
signature's fields and encodes the outputs. It is synchronous and thread-safe.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.engine.graph import SessionSettings, hint_at, is_memory_error
from modelpad.engine.operators import is_bounded
from modelpad.engine.packed_graph import load_shared
from modelpad.engine.residency import Residence
from modelpad.engine.tensors import KnownShapes, TensorInfo
from modelpad.engine.typed import TypedAccess
from modelpad.errors import BundleInvalid, InvalidInput, ModelFailed, ModelpadError, first_line
from modelpad.runtime import GraphValue, InferenceSession, RunOptions, load_onnxruntime

if TYPE_CHECKING:
    from modelpad.bundle import Bundle
    from modelpad.engine.memory import MemoryBudget
    from modelpad.engine.native import NativeGraph
    from modelpad.fields.arrays import Array, Arrays

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of this container, with cgroups v2


class Run:
    """A run of a graph that another thread can stop.

    ONNX Runtime checks whether to stop between operators, also in loops. It never interrupts an
    operator.
    """

    __slots__ = ("options", "stopped")

    def __init__(self) -> None:
        self.options: RunOptions = load_onnxruntime().RunOptions()
        self.stopped = False

    def stop(self) -> None:
        """Makes the run fail when its current operator is done."""
        self.stopped = True
        self.options.terminate = True


def allotted_cpus() -> int:
    """The number of CPUs for this process, by its affinity and the cgroup's quota; at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, int(quota) // int(period)))


class Session:
    """A model that decodes inputs, predicts batches and encodes outputs.

    With a memory budget, its graph is loaded when it is first used, and again after an eviction.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: SessionSettings | None = None,
        memory: MemoryBudget | None = None,
    ) -> None:
        """Loads the bundle's graph, unless there is a memory budget.

        Raises:
            BundleInvalid: ONNX Runtime cannot load the graph, or it does not match the signature.
            MissingExtra: the framework of a native model is not installed.
        """
        self.bundle = bundle
        self.signature = bundle.manifest.signature
        self.settings = settings or SessionSettings()
        self.typed = TypedAccess(self.signature, lambda name: bundle.path(name).read_bytes())
        self._output_names = [*self.typed.outputs.axes]
        self._tensors: tuple[list[TensorInfo], list[TensorInfo]] | None = None
        self._shapes = KnownShapes()
        self._splits = False
        self._native: NativeGraph | None = None  # the graph, if it is one
        self._graph: Residence[InferenceSession] = Residence(
            self, bundle.folder, self._load, memory, release=self._close_native
        )
        self._others = {
            name: self if self._is_same(other) else Session(other, settings, memory)
            for name, other in bundle.split_signatures().items()
        }
        if memory is None:
            self._graph.open()

    def find_signature(self, name: str) -> Session:
        """The session of a signature: this one for "", and for the main signature's own name.

        Raises `InvalidInput` if the model has no such signature.
        """
        if name in ("", self.bundle.manifest.signature_name):
            return self
        if name not in self._others:
            names = ", ".join(self.signature_names)
            raise InvalidInput(
                f'Serving signature name: "{name[:100]}" not found in signature def.',
                hint=f"It has: {names}; without signature_name, the first is used.",
                field="signature_name",
                expected=names,
                got=name[:100],
            )
        return self._others[name]

    def _is_same(self, other: Bundle) -> bool:
        """Whether another signature is the main one by another name."""
        is_same = other.graph == self.bundle.graph and other.manifest.native is None
        return is_same and other.manifest.signature == self.signature

    @property
    def signature_names(self) -> tuple[str, ...]:
        """The names of all signatures, the main one first."""
        return (self.bundle.manifest.signature_name, *self._others)

    @property
    def title(self) -> str:
        """The bundle's name."""
        return self.bundle.manifest.name

    @property
    def graph_bytes(self) -> int:
        """The size of the graph's files, which is about its size in memory."""
        return self.bundle.graph_bytes

    @property
    def process_bytes(self) -> int:
        """The memory that a native model's own process uses now; else 0."""
        native = self._native
        return 0 if native is None else native.process_bytes

    @property
    def is_open(self) -> bool:
        """Whether the graph is loaded."""
        return self._graph.graph is not None

    @property
    def is_described(self) -> bool:
        """Whether its tensors are known, so that it need not be loaded to describe them."""
        return self._tensors is not None

    @property
    def can_split(self) -> bool:
        """Whether a request may be split, because each input row gives one output row.

        All tensors must be declared with a dynamic batch axis in front. False until it is loaded.
        """
        return self._splits

    def disable_splitting(self) -> None:
        """Records that an input row does not give one output row after all."""
        self._splits = False

    def is_bounded(self) -> bool:
        """Whether a run's cost depends only on the number of items: see `operators.is_bounded`.

        False for a native model, whose process may hang. All items must have the same shape, and
        must not be text. Reads the graph's file. Raises like the constructor.
        """
        if self.bundle.manifest.native is not None:
            return False
        inputs, _ = self.describe_tensors()
        fixed = all(info.dtype != "string" and -1 not in info.item_shape for info in inputs)
        names = [info.name for info in inputs]
        return fixed and is_bounded(self.bundle.path(self.bundle.graph), names)

    def describe_tensors(self) -> tuple[list[TensorInfo], list[TensorInfo]]:
        """The graph's inputs and outputs, in their order in it. Raises like the constructor."""
        if self._tensors is None:
            with self._graph.use():
                pass
        assert self._tensors is not None
        return self._tensors

    def evict(self) -> bool:
        """Unloads the graph; returns False if it is in use, or about to be."""
        return self._graph.evict()

    def close(self) -> None:
        """Unloads the graph permanently; a run that has begun finishes."""
        self._graph.close()
        self._native = None
        for other in {*self._others.values()} - {self}:
            other.close()

    def _close_native(self) -> None:
        if self._native is not None:
            self._native.close()
        self._native = None

    def _load(self) -> InferenceSession:
        graph = self._open()
        self._check_names(graph)
        bound = {*self._output_names}
        inputs, outputs = graph.get_inputs(), [v for v in graph.get_outputs() if v.name in bound]
        if self._tensors is None:
            dynamic = all(_is_free(value, 0) for value in (*inputs, *outputs))
            self._splits = dynamic and self.typed.is_batch_first
            axes = self.typed.inputs.axes
            self.typed.joins &= all(_is_free(value, axes[value.name]) for value in inputs)
        input_axes, output_axes = self.typed.inputs.axes, self.typed.outputs.axes
        self._tensors = (
            [_describe(value, input_axes[value.name]) for value in inputs],
            [_describe(value, output_axes[value.name]) for value in outputs],
        )
        self._shapes.watch(self._tensors[0])
        return graph

    def _open(self) -> InferenceSession:
        """The graph in ONNX Runtime, or the process that runs a native model in its framework."""
        if self.bundle.manifest.native is None:
            return load_shared(self.bundle, self.settings)
        from modelpad.engine.native import open_native

        self._native = open_native(self.bundle, self.settings.threads)
        return self._native

    def predict(self, batch: Mapping[str, Array], run: Run | None = None) -> Arrays:
        """The graph's outputs for its inputs, by name. `run` can stop it.

        Raises:
            InvalidInput: ONNX Runtime failed on a size that the graph leaves open, and that it has
                never run with.
            ModelFailed: ONNX Runtime or the model's framework failed, or the run was stopped.
            BundleInvalid: the graph cannot be loaded again.
        """
        try:
            with self._graph.use() as graph:
                options = None if run is None else run.options
                outputs = graph.run(self._output_names, dict(batch), options)
        except ModelpadError:
            raise
        except Exception as error:
            if self._shapes.is_new(batch) and not is_memory_error(error):
                raise self._shapes.explain(batch, error) from error
            raise ModelFailed(
                f"The model failed on this input: {first_line(error, 300)}", hint=hint_at(error)
            ) from error
        self._shapes.add(batch)
        return dict(zip(self._output_names, outputs, strict=True))

    def answer(self, values: Mapping[str, object]) -> dict[str, object]:
        """Decodes, predicts and encodes one item. Raises like these."""
        return self.typed.encode(values, self.predict(self.typed.decode(values)))

    def answer_small(self, values: Mapping[str, object]) -> dict[str, object]:
        """Like `answer`, but pictures and large tensors stay arrays: see `encode_small`."""
        return self.typed.encode_small(values, self.predict(self.typed.decode(values)))

    def warm_up(self) -> None:
        """Runs the bundle's first sample, so that the first request is not slower than others."""
        for sample in self.bundle.manifest.samples[:1]:
            self.answer(self.bundle.sample_values(sample.inputs))

    def _check_names(self, graph: InferenceSession) -> None:
        graph_inputs = sorted(value.name for value in graph.get_inputs())
        graph_outputs = {value.name for value in graph.get_outputs()}
        inputs = sorted(self.typed.inputs.axes)
        if graph_inputs != inputs or not graph_outputs.issuperset(self._output_names):
            raise BundleInvalid(
                f"The graph has inputs {graph_inputs} and outputs {sorted(graph_outputs)}, but the"
                f" manifest declares {inputs} and {self._output_names}.",
                hint="Write the bundle again from its source model.",
            )


def _describe(value: GraphValue, batch_axis: int | None) -> TensorInfo:
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(kind, kind)
    shape = tuple(side if isinstance(side, int) and side > 0 else -1 for side in value.shape)
    return TensorInfo(value.name, dtype, shape, batch_axis)


def _is_free(value: GraphValue, axis: int | None) -> bool:
    """Whether the graph leaves the size of an axis open."""
    if axis is None or axis >= len(value.shape):
        return False
    side = value.shape[axis]
    return not (isinstance(side, int) and side > 0)
