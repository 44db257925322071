"""A graph in ONNX Runtime: its settings, how it is loaded, and what to do about its errors."""

from __future__ import annotations

import contextlib
import logging
import mmap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpad.bundle.external_data import find_locations
from modelpad.errors import BundleInvalid, first_line
from modelpad.runtime import InferenceSession, load_onnxruntime

log = logging.getLogger("modelpad.engine")

# ONNX Runtime's execution providers, fastest first.
DEVICES = {
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}


LARGE_GRAPH_BYTES = 64 * 1024 * 1024  # computes for long without Python's lock


@dataclass(frozen=True, slots=True)
class GraphCache:
    """Where graphs of at least `min_bytes` are kept for processes to map: see `packed_graph`."""

    folder: Path
    min_bytes: int = LARGE_GRAPH_BYTES


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How ONNX Runtime runs a graph.

    `threads` is the number of threads for one operator. `arena` keeps freed memory for the next
    batch, which is faster for large models but takes more memory for small ones. `device` is a key
    of `DEVICES`, or `auto` for the fastest one available. With `packed`, large graphs are mapped
    from there, and share their memory with other processes.
    """

    threads: int = 1
    arena: bool = False
    device: str = "cpu"
    packed: GraphCache | None = None

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")
        if self.device != "auto" and self.device not in DEVICES:
            raise ValueError(
                f"device must be one of auto, {', '.join(DEVICES)}, not {self.device!r}"
            )


def load_graph(path: Path, settings: SessionSettings) -> InferenceSession:
    """Loads a graph into ONNX Runtime. Raises `BundleInvalid`.

    Weights in separate files are copied: a file that changes while it is mapped would change
    predictions, and one that becomes shorter would end the process.
    """
    try:
        options = make_options(settings)
        with _opened_weights(path) as weights:
            add = getattr(options, "add_external_initializers_from_files_in_memory", None)
            if weights and add is not None:  # since ONNX Runtime 1.23
                add([*weights], [*weights.values()], [len(each) for each in weights.values()])
            return open_graph(path, options, settings)
    except Exception as error:
        if is_memory_error(error):
            raise too_large(path) from error
        raise BundleInvalid(
            f"ONNX Runtime cannot load {path.name}: {first_line(error, 300)}", hint=hint_at(error)
        ) from error


def too_large(path: Path) -> BundleInvalid:
    """The error for a graph that does not fit into memory."""
    size = path.stat().st_size
    with contextlib.suppress(OSError, ValueError):
        size += sum((path.parent / each).stat().st_size for each in find_locations(path))
    return BundleInvalid(
        f"There is not enough memory to load {path.name} with its weights: {size / 1e6:,.0f} MB.",
        hint="Loading takes up to three times as much. Use fewer --workers, raise"
        " --max-worker-memory-mb, or use a machine with more memory.",
    )


def make_options(settings: SessionSettings) -> Any:
    """ONNX Runtime's `SessionOptions`."""
    options = load_onnxruntime().SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = settings.arena
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_graph(path: Path, options: Any, settings: SessionSettings) -> InferenceSession:
    """A session of ONNX Runtime on the settings' device. Raises what ONNX Runtime raises."""
    onnxruntime = load_onnxruntime()
    providers = choose_providers(settings.device, onnxruntime.get_available_providers())
    graph: InferenceSession = onnxruntime.InferenceSession(path, options, providers=providers)
    return graph


@contextmanager
def _opened_weights(path: Path) -> Iterator[dict[str, mmap.mmap]]:
    """The files that hold a graph's weights, by their locations, mapped until they are copied."""
    with ExitStack() as stack:
        weights = {}
        for location in sorted(find_locations(path)):
            file = stack.enter_context((path.parent / location).open("rb"))
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            weights[location] = stack.enter_context(mapped)
        yield weights


def choose_providers(device: str, available: Sequence[str]) -> list[str]:
    """The execution providers to try, in order, ending with the CPU.

    Logs a warning and falls back to the CPU if the device is not available.
    """
    cpu = DEVICES["cpu"]
    if device == "auto":
        return [name for name in DEVICES.values() if name in available] or [cpu]
    provider = DEVICES[device]
    if provider not in available:
        log.warning(
            "this ONNX Runtime has no %s (it has: %s); using the CPU",
            provider,
            ", ".join(available),
        )
        return [cpu]
    return [provider] if provider == cpu else [provider, cpu]


def is_memory_error(error: Exception) -> bool:
    """Whether ONNX Runtime, or Python, ran out of memory."""
    return isinstance(error, MemoryError) or "bad_alloc" in str(error)


def hint_at(error: Exception) -> str:
    """What to do about an error of ONNX Runtime."""
    if is_memory_error(error):
        return "It needs more memory than is available, or than --max-worker-memory-mb allows."
    return "Check the bundle with: modelpad models verify"
