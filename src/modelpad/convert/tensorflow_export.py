"""Exports TensorFlow's models with tf2onnx, which runs in a process of its own.

The process keeps its output and its crashes away from the import.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.exporter_log import exporter_log
from modelpad.convert.graph import (
    BATCH,
    STANDARD_DOMAINS,
    NodeBuilder,
    load_onnx,
    rename_io,
    subgraphs,
)
from modelpad.convert.isolation import isolate
from modelpad.convert.source import TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

OPSET = 18
# tf2onnx prefixes the operations of `.tflite` files.
LITE_PREFIX = "TFL_"
# Operators of TensorFlow Lite that this module converts itself.
OWN_CONVERSIONS = {"GELU"}
NO_EQUIVALENT = "Leave them out of the model, or choose another signature: --signature NAME"


def load_tensorflow() -> ModuleType:
    """The `tensorflow` package, with its logging disabled. Raises `MissingExtra`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        with quiet(), _silent_stderr():
            import tensorflow
    except ImportError as error:
        raise MissingExtra("tensorflow", extra="tensorflow") from error
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    module: ModuleType = tensorflow
    return module


def list_convertible() -> set[str]:
    """The operations that tf2onnx converts; those of TensorFlow Lite start with `TFL_`.

    Raises `MissingExtra` without tf2onnx.
    """
    try:
        with quiet():
            from tf2onnx import tfonnx  # noqa: F401  (it registers the operations)
            from tf2onnx.handler import tf_op
    except ImportError as error:
        raise MissingExtra("tf2onnx", extra="tensorflow") from error
    return {name for opsets in tf_op.get_opsets().values() for opset in opsets for name in opset}


def run_tf2onnx(arguments: Sequence[str]) -> ModelProto:
    """Runs `python -m tf2onnx.convert` with `arguments`.

    Raises:
        MissingExtra: tf2onnx is not installed.
        ConversionFailed: it cannot convert the model. The message has its reason.
    """
    onnx = load_onnx()
    list_convertible()
    with tempfile.TemporaryDirectory() as folder, exporter_log("tf2onnx"):
        path = Path(folder) / "model.onnx"
        command = [sys.executable, "-P", "-m", "tf2onnx.convert", *_complete(arguments, path)]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
        print(done.stdout, done.stderr)
        if done.returncode < 0:
            name = signal.Signals(-done.returncode).name
            raise ConversionFailed(
                f"tf2onnx crashed ({name}) while it converted the model.",
                hint="The file may be damaged or malicious, or need more memory than there is.",
                signal=name,
            )
        if done.returncode or not path.exists():
            raise _failed(_find_reason(done.stderr))
        return _check_operations(onnx.load(path))


def fork_tf2onnx(arguments: Sequence[str]) -> ModelProto:
    """Like `run_tf2onnx`, in a fork of this process, which saves importing TensorFlow again.

    Only for conversions that do not run TensorFlow's graphs: a fork has none of its threads.
    """
    onnx = load_onnx()
    list_convertible()

    def convert() -> bytes:
        from tf2onnx import convert as program

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            sys.argv = ["tf2onnx.convert", *_complete(arguments, path)]
            program.main()
            return path.read_bytes()

    try:
        content = isolate(convert, "Converting the model with tf2onnx")
    except RuntimeError as error:
        raise _failed(str(error)) from error
    model = onnx.load_from_string(content)
    replace_gelu(model)
    return _check_operations(model)


def name_io(
    model: ModelProto, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
) -> ModelProto:
    """Gives the graph's inputs and outputs the order, names and shapes of the specs.

    The keys of `inputs` and `outputs` are tf2onnx's names for them. Inputs that it has removed
    because the model never uses them are added again.

    Raises `ConversionFailed` if an output is missing or has another dtype.
    """
    graph = model.graph
    missing = [spec.name for name, spec in outputs.items() if name not in _names(graph.output)]
    if missing:
        raise ConversionFailed(
            f"tf2onnx exports no output {missing[0]!r}.",
            hint="Please report this, with the model's operations.",
        )
    _sort(graph.input, inputs)
    _sort(graph.output, outputs)
    rename_io(model, tuple(inputs.values()), tuple(outputs.values()))
    for values, specs in ((graph.input, inputs), (graph.output, outputs)):
        for value, spec in zip(values, specs.values(), strict=True):
            declared = _describe(spec.name, spec)
            if value.type.tensor_type.elem_type != declared.type.tensor_type.elem_type:
                raise ConversionFailed(
                    f"tf2onnx changes the dtype of {spec.name!r}, which is {spec.dtype}.",
                    hint="Please report this, with the model's operations.",
                )
            value.CopyFrom(declared)
    return model


def replace_gelu(model: ModelProto) -> None:
    """Replaces TensorFlow Lite's GELU, which tf2onnx does not convert, with standard operators."""
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type != f"{LITE_PREFIX}GELU":
            nodes.append(node)
            continue
        approximate = any(each.name == "approximate" and each.i for each in node.attribute)
        build = NodeBuilder(model.graph, node.output[0])
        (_add_tanh_gelu if approximate else _add_gelu)(build, node.input[0])
        build.nodes[-1].output[0] = node.output[0]
        nodes += build.nodes
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@contextmanager
def quiet() -> Iterator[None]:
    """Hides warnings and what Python prints."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discards what native code writes to standard error, such as notes on missing GPUs."""
    sys.stderr.flush()
    saved, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


def _add_gelu(build: NodeBuilder, x: str) -> None:
    """x/2 * (1 + erf(x / sqrt 2))"""
    scaled = build("Mul", [x], [np.array(np.sqrt(0.5), np.float32)])
    _add_gate(build, x, build("Erf", [scaled]))


def _add_tanh_gelu(build: NodeBuilder, x: str) -> None:
    """x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))"""
    cube = build("Pow", [x], [np.array(3, np.float32)])
    small = build("Mul", [cube], [np.array(0.044715, np.float32)])
    scaled = build("Mul", [build("Add", [x, small])], [np.array(np.sqrt(2 / np.pi), np.float32)])
    _add_gate(build, x, build("Tanh", [scaled]))


def _add_gate(build: NodeBuilder, x: str, gate: str) -> None:
    half = build("Mul", [x], [np.array(0.5, np.float32)])
    build("Mul", [half, build("Add", [gate], [np.array(1, np.float32)])])


def _sort(values: MutableSequence[ValueInfoProto], specs: Mapping[str, TensorSpec]) -> None:
    """Sorts a graph's inputs or outputs like `specs`."""
    found = {value.name: value for value in values}
    kept = [found.get(name) or _describe(name, spec) for name, spec in specs.items()]
    copies = [type(value).FromString(value.SerializeToString()) for value in kept]
    del values[:]
    values.extend(copies)


def _names(values: Sequence[ValueInfoProto]) -> set[str]:
    return {value.name for value in values}


def _describe(name: str, spec: TensorSpec) -> ValueInfoProto:
    onnx = load_onnx()
    element = (
        onnx.TensorProto.STRING
        if spec.dtype == "string"
        else onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    )
    sides = [
        (BATCH if axis == spec.batch_axis else f"{spec.name}_{axis}") if side is None else side
        for axis, side in enumerate(spec.shape)
    ]
    value: ValueInfoProto = onnx.helper.make_tensor_value_info(name, element, sides)
    return value


def _complete(arguments: Sequence[str], path: Path) -> list[str]:
    return [*arguments, f"--opset={OPSET}", f"--output={path}"]


def _failed(reason: str) -> ConversionFailed:
    reason = reason.removeprefix("ValueError: ").removeprefix("make_sure failure: ")
    return ConversionFailed(
        f"tf2onnx cannot convert the model: {reason[:300]}",
        hint="Remove operations that have no equivalent in ONNX.",
    )


def _check_operations(model: ModelProto) -> ModelProto:
    """Raises `ConversionFailed` for operations that tf2onnx has left as they were."""
    onnx = load_onnx()
    unknown = {
        node.op_type.removeprefix(LITE_PREFIX)
        for graph in subgraphs(model.graph)
        for node in graph.node
        if node.domain in STANDARD_DOMAINS and not _is_known(onnx, node)
    }
    drawing = sorted(name for name in unknown if "Random" in name)
    if drawing:
        raise ConversionFailed(
            f"The model draws random numbers ({', '.join(drawing)}), as augmentation layers do in"
            " training mode.",
            hint="Export it without them, or a function that calls it with training=False.",
            operations=drawing,
        )
    if unknown:
        raise cannot_convert(sorted(unknown))
    return model


def _is_known(onnx: ModuleType, node: NodeProto) -> bool:
    return bool(onnx.defs.has(node.op_type, node.domain)) or node.domain == "com.microsoft"


def cannot_convert(
    operations: Sequence[str], name: str = "The model", hint: str = NO_EQUIVALENT
) -> ConversionFailed:
    """The error for operations without an equivalent in ONNX."""
    return ConversionFailed(
        f"{name} uses operations that ONNX has no equivalent for: {', '.join(operations)}.",
        hint=hint,
        operations=list(operations),
    )


def _find_reason(log: str) -> str:
    """The last error in tf2onnx's output."""
    lines = [line.strip() for line in log.splitlines() if "rror" in line]
    return (lines or ["no reason given"])[-1]
