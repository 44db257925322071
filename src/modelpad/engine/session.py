"""A bundle opened as an ONNX Runtime session.

It decodes values by the signature's fields, runs a batch, and encodes the answers. It is
synchronous and safe to call from several threads.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.bundle import open_bundle
from modelpad.engine.operators import is_bounded
from modelpad.errors import BundleInvalid, InvalidInput, ModelFailed, ModelpadError, first_line
from modelpad.runtime import load_onnxruntime

log = logging.getLogger("modelpad.engine")

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelpad.bundle import Bundle
    from modelpad.engine.memory import MemoryBudget

    Batch = Mapping[str, NDArray[np.generic]]


CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of this container, with cgroups v2
LARGE_ARRAY = 32_768  # elements; one of more takes several milliseconds to become nested lists

# ONNX Runtime's execution providers, the fastest first.
DEVICES = {
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How ONNX Runtime runs a graph.

    `threads` is the number of threads within one operator, at least 1. `arena` keeps freed memory
    for the next batch: faster for large models, larger for small ones. `device` is one of
    `DEVICES`, or `auto`: the fastest that this ONNX Runtime has.
    """

    threads: int = 1
    arena: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")
        if self.device != "auto" and self.device not in DEVICES:
            raise ValueError(f"device {self.device!r} is not one of auto, {', '.join(DEVICES)}")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a graph: `dtype` is NumPy's name or `string`; `shape` starts with the batch.

    A side that is free is -1.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


class Run:
    """One run of a graph, which another thread can stop.

    ONNX Runtime looks between operators, those within loops too, whether it should stop; one
    operator is never interrupted.
    """

    __slots__ = ("options", "stopped")

    def __init__(self) -> None:
        onnxruntime = load_onnxruntime()

        self.options = onnxruntime.RunOptions()
        self.stopped = False

    def stop(self) -> None:
        """Lets the run fail as soon as its current operator is done."""
        self.stopped = True
        self.options.terminate = True


def allotted_cpus() -> int:
    """The processors this process may use: its affinity, cut by the cgroup's quota; at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, int(quota) // int(period)))


class Session:
    """An opened model: `decode` what arrived, `predict` a batch, `encode` what it answers.

    With a memory budget its graph is opened when it is first used, and again after it slept.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: SessionSettings | None = None,
        memory: MemoryBudget | None = None,
    ) -> None:
        """Opens the bundle's graph, unless there is a budget.

        Raises:
            BundleInvalid: ONNX Runtime cannot read the graph, or its names are not the signature's.
        """
        self.bundle = bundle
        self.signature = bundle.manifest.signature
        self.settings = settings or SessionSettings()
        self.memory = memory
        self._output_names = [field.name for field in self.signature.outputs]
        self._tensors: tuple[list[TensorInfo], list[TensorInfo]] | None = None
        self._splits = False
        self._graph: Any = None
        self._users = 0
        self._lock = threading.Lock()
        if memory is None:
            self._open()

    @property
    def title(self) -> str:
        """The name of its bundle."""
        return self.bundle.manifest.name

    @property
    def graph_bytes(self) -> int:
        """The size of the graph's files: about what it takes in memory."""
        return self.bundle.graph_bytes

    @property
    def is_open(self) -> bool:
        """Whether its graph is in memory."""
        return self._graph is not None

    @property
    def is_described(self) -> bool:
        """Whether its tensors are known without opening it."""
        return self._tensors is not None

    @property
    def can_split(self) -> bool:
        """Whether a request of many items may be run in pieces, as the graph gives a row for a row.

        Its inputs and outputs must be declared with a free batch axis. False before it is opened.
        """
        return self._splits

    def forbid_splitting(self) -> None:
        """Its outputs were seen not to be a row for a row."""
        self._splits = False

    def is_bounded(self) -> bool:
        """Whether a run's cost depends on the number of items alone: see `operators.is_bounded`.

        The items need one shape, and must not be text. Reads the graph's file; raises as opening
        does.
        """
        inputs, _ = self.describe_tensors()
        fixed = all(info.dtype != "string" and -1 not in info.shape[1:] for info in inputs)
        names = [info.name for info in inputs]
        return fixed and is_bounded(self.bundle.path("model.onnx"), names)

    def describe_tensors(self) -> tuple[list[TensorInfo], list[TensorInfo]]:
        """The graph's inputs and outputs, in the signature's order. Raises as opening does."""
        if self._tensors is None:
            with self._use():
                pass
        assert self._tensors is not None
        return self._tensors

    def evict(self) -> bool:
        """Gives the graph's memory back; False when it is in use, or about to be."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._users:
                return False
            self._graph = None
            return True
        finally:
            self._lock.release()

    def close(self) -> None:
        """Gives the graph's memory back for good."""
        if self.memory is not None:
            self.memory.forget(self)
        self._graph = None

    @contextmanager
    def _use(self) -> Iterator[Any]:
        """The graph, opened, and not put to sleep meanwhile."""
        with self._lock:
            if self._graph is None:
                if self.memory is not None:
                    self.memory.make_room(self)
                self._open()
            graph = self._graph
            self._users += 1
        try:
            yield graph
        finally:
            with self._lock:
                self._users -= 1
            if self.memory is not None:
                self.memory.note_use(self)

    def _open(self) -> None:
        if self.memory is not None:
            open_bundle(self.bundle.folder)  # it may have changed since it was first looked at
        graph = _open_graph(self.bundle.path("model.onnx"), self.settings)
        self._check_names(graph)
        taken = {value.name: value for value in graph.get_inputs()}
        given = {value.name: value for value in graph.get_outputs()}
        inputs = [_describe(taken[field.name]) for field in self.signature.inputs]
        if self._tensors is None:
            values = [*taken.values(), *(given[name] for name in self._output_names)]
            self._splits = all(_has_free_batch(value) for value in values)
        self._tensors = inputs, [_describe(given[name]) for name in self._output_names]
        self._graph = graph

    def decode(self, values: Mapping[str, object]) -> dict[str, NDArray[np.generic]]:
        """One item's values as a batch of one for each input.

        Raises:
            InvalidInput: a field is missing, unknown or does not fit.
        """
        fields = {field.name: field for field in self.signature.inputs}
        _check_fields(values, list(fields))
        return {name: field.decode(values[name])[None] for name, field in fields.items()}

    def predict(self, batch: Batch, run: Run | None = None) -> dict[str, NDArray[np.generic]]:
        """The outputs (batch, ...) of inputs (batch, ...); `run` is what can stop it.

        Raises:
            ModelFailed: ONNX Runtime raised while it ran the graph, or the run was stopped.
            BundleInvalid: the graph cannot be opened again.
        """
        try:
            with self._use() as graph:
                options = None if run is None else run.options
                outputs = graph.run(self._output_names, dict(batch), options)
        except ModelpadError:
            raise
        except Exception as error:
            raise ModelFailed(
                f"The model failed on this input: {first_line(error, 300)}", hint=_explain(error)
            ) from error
        return dict(zip(self._output_names, outputs, strict=True))

    def encode(self, outputs: Batch, index: int = 0) -> dict[str, Any]:
        """Item `index` of the outputs as what JSON carries, one entry an output field."""
        return {
            field.name: field.encode(outputs[field.name][index]) for field in self.signature.outputs
        }

    def encode_small(self, outputs: Batch) -> dict[str, Any]:
        """As `encode`, but tensors of more than `LARGE_ARRAY` elements are left as arrays."""
        items = {field.name: outputs[field.name][0] for field in self.signature.outputs}
        return {
            field.name: items[field.name]
            if field.kind == "tensor" and items[field.name].size > LARGE_ARRAY
            else field.encode(items[field.name])
            for field in self.signature.outputs
        }

    def answer(self, values: Mapping[str, object]) -> dict[str, Any]:
        """Decode, predict and encode one item. Raises as these do."""
        return self.encode(self.predict(self.decode(values)))

    def warm_up(self) -> None:
        """Answer the bundle's first sample, so that the first user does not pay for it."""
        for sample in self.bundle.manifest.samples[:1]:
            self.answer(self.sample_values(sample.inputs))

    def sample_values(self, inputs: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
        """The values of a sample as the manifest holds it: each inline or in a file."""
        return {
            name: self.bundle.path(value["file"]).read_bytes()
            if "file" in value
            else value["value"]
            for name, value in inputs.items()
        }

    def _check_names(self, graph: Any) -> None:
        graph_inputs = sorted(value.name for value in graph.get_inputs())
        graph_outputs = {value.name for value in graph.get_outputs()}
        inputs = sorted(field.name for field in self.signature.inputs)
        if graph_inputs != inputs or not graph_outputs.issuperset(self._output_names):
            raise BundleInvalid(
                f"The graph takes {graph_inputs} and gives {sorted(graph_outputs)}; the manifest"
                f" says {inputs} and {self._output_names}.",
                hint="Write the bundle again from its source model.",
            )


def choose_providers(device: str, available: Sequence[str]) -> list[str]:
    """The execution providers to try, in their order; the processor is always the last.

    A device that this ONNX Runtime does not have is warned of, and the processor does its work.
    """
    cpu = DEVICES["cpu"]
    if device == "auto":
        return [name for name in DEVICES.values() if name in available] or [cpu]
    wanted = DEVICES[device]
    if wanted not in available:
        log.warning(
            "this ONNX Runtime has no %s (it has: %s); the processor is used",
            wanted,
            ", ".join(available),
        )
        return [cpu]
    return [wanted] if wanted == cpu else [wanted, cpu]


def _describe(value: Any) -> TensorInfo:
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(kind, kind)
    shape = [side if isinstance(side, int) and side > 0 else -1 for side in value.shape]
    return TensorInfo(value.name, dtype, (-1, *shape[1:]))


def _has_free_batch(value: Any) -> bool:
    return bool(value.shape) and not (isinstance(value.shape[0], int) and value.shape[0] > 0)


def _open_graph(path: Path, settings: SessionSettings) -> Any:
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = settings.arena
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        providers = choose_providers(settings.device, onnxruntime.get_available_providers())
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:
        raise BundleInvalid(
            f"ONNX Runtime cannot open {path.name}: {first_line(error, 300)}",
            hint=_explain(error),
        ) from error


def _explain(error: Exception) -> str:
    if "bad_alloc" in str(error) or isinstance(error, MemoryError):
        return "It needs more memory than there is, or than --max-worker-memory-mb allows."
    return "Check the bundle with: modelpad models verify"


def _check_fields(values: Mapping[str, object], names: Sequence[str]) -> None:
    missing = [name for name in names if name not in values]
    unknown = [name for name in values if name not in names]
    if missing or unknown:
        got = ", ".join(sorted(values)) or "no field"
        said = f"The field {missing[0]!r} is missing." if missing else ""
        if unknown:
            said = f"There is no field {unknown[0]!r}." + (f" {said}" if said else "")
        raise InvalidInput(
            said,
            hint=f"Send: {', '.join(names)}.",
            field=(missing or unknown)[0],
            expected=", ".join(names),
            got=got,
        )
