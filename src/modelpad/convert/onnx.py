"""ONNX files as a source: checked, with their external data, run as they are by ONNX Runtime."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from modelpad.bundle.external_data import find_locations
from modelpad.convert.archives import outside, unreadable
from modelpad.convert.graph import STANDARD_DOMAINS, load_onnx, subgraphs
from modelpad.convert.source import Arrays, ImportRequest, TensorSpec
from modelpad.errors import ConversionFailed, NotTrusted, first_line
from modelpad.runtime import load_onnxruntime


def open_onnx(path: Path, request: ImportRequest) -> OnnxSource:
    """The graph in `path`, with its external data.

    Raises:
        NotTrusted: operators of a domain of its own, or data outside the file's folder.
        ConversionFailed: it is no graph, or makes no sense.
    """
    onnx = load_onnx()
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise ConversionFailed(
            f"{path.name} is no ONNX file: {first_line(error, 200)}",
            hint="Check that the file is whole.",
        ) from error
    check_domains(model, path.name)
    check_external(model, path)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(path)
    except Exception as error:
        raise ConversionFailed(
            f"{path.name} makes no sense: {first_line(error, 300)}",
            hint="Check it with onnx.checker, or export it again.",
        ) from error
    return OnnxSource(model, path)


def check_domains(model: Any, name: str) -> None:
    """Raises `NotTrusted` for operators that only a library of the author's own can run."""
    strange = sorted(
        {
            f"{node.domain}::{node.op_type}"
            for graph in subgraphs(model.graph)
            for node in graph.node
            if node.domain not in STANDARD_DOMAINS
        }
        - {f"{function.domain}::{function.name}" for function in model.functions}
    )
    if strange:
        raise NotTrusted(
            f"{name} uses operators that only a library of its author's can run:"
            f" {', '.join(strange[:5])}.",
            hint="Export it with standard operators.",
            found=strange,
        )


def check_external(model: Any, path: Path) -> None:
    """Raises `NotTrusted` when weights lie outside the file's folder, or behind a link.

    Raises `ConversionFailed` when they are not there, or shorter than the graph says.
    """
    try:
        locations = find_locations(path)
    except ValueError as error:
        raise unreadable(path, str(error)) from error
    for location in sorted(locations):
        check_location(path, location)
    for tensor in all_tensors(model):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if "location" not in entries:
            continue
        location = entries["location"]
        sizes = [entries.get(key, "0") for key in ("length", "offset")]
        if not all(re.fullmatch(r"\d{1,18}", size) for size in sizes):
            raise unreadable(path, f"the data of {tensor.name!r} have no valid size")
        if sum(map(int, sizes)) > (path.parent / location).stat().st_size:
            raise ConversionFailed(
                f"{location} is shorter than {path.name} says.", hint="Copy it again."
            )


def check_location(path: Path, location: str) -> None:
    """Checks where one tensor's data are. Raises as `check_external`."""
    parts = PurePosixPath(location).parts
    plain = location and not location.startswith("/") and ".." not in parts and "\\" not in location
    steps = [path.parent.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    if not plain or any(step.is_symlink() for step in steps):
        raise outside(path, f"weights kept in {location!r}")
    if not steps or not steps[-1].is_file():
        raise ConversionFailed(
            f"{path.name} keeps its weights in {location}, which is not there.",
            hint=f"Put {location} beside {path.name}.",
        )


def external_files(path: Path) -> list[Path]:
    """The files beside an ONNX file that keep its weights; none for a file of another kind."""
    if path.suffix != ".onnx":
        return []
    try:
        locations = sorted(find_locations(path))
    except ValueError:
        return []  # opening it will say what is wrong with it
    for location in locations:
        check_location(path, location)
    return [path.parent / location for location in locations]


def all_tensors(model: Any) -> list[Any]:
    """Every tensor that the file holds or refers to: weights, constants, of inner graphs too."""
    found = []
    graphs = list(subgraphs(model.graph))
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for function in model.functions for node in function.node]
    for graph in graphs:
        found += list(graph.initializer)
        for sparse in graph.sparse_initializer:
            found += [sparse.values, sparse.indices]
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                found.append(attribute.t)
            found += list(attribute.tensors)
    return found


class OnnxSource:
    """An ONNX graph as it came; the reference is ONNX Runtime without any optimisation."""

    framework = "onnx"
    classes: tuple[str, ...] = ()
    scales_itself = False

    def __init__(self, model: Any, path: Path | None = None) -> None:
        self.model = model
        self.path = path
        onnx = load_onnx()
        constants = {value.name for value in model.graph.initializer}
        self.inputs = tuple(
            describe_value(value) for value in model.graph.input if value.name not in constants
        )
        self.outputs = tuple(describe_value(value) for value in model.graph.output)
        self._session: Any = None
        opsets = {o.domain or "ai.onnx": o.version for o in model.opset_import}
        self.facts: Mapping[str, Any] = {
            "opset": opsets.get("ai.onnx"),
            "producer": f"{model.producer_name} {model.producer_version}".strip(),
            "onnx": onnx.__version__,
        }
        self._fixed = {int(spec.shape[0]) for spec in self.inputs if spec.shape and spec.shape[0]}

    def run(self, batch: Arrays) -> Arrays:
        """ONNX Runtime's answers to the file as it is, in parts where its batch is fixed."""
        session = self._open()
        names = [spec.name for spec in self.outputs]
        if len(self._fixed) != 1:
            return dict(zip(names, session.run(names, batch), strict=True))
        size, count = next(iter(self._fixed)), len(next(iter(batch.values())))
        parts = []
        for start in range(0, count, size):
            rows = np.minimum(np.arange(start, start + size), count - 1)
            parts.append(session.run(names, {name: array[rows] for name, array in batch.items()}))
        return {
            name: np.concatenate([part[index] for part in parts])[:count]
            for index, name in enumerate(names)
        }

    def export(self) -> Any:
        """A copy of the graph itself."""
        onnx = load_onnx()
        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        return copy

    def files(self) -> Mapping[str, bytes | Path]:
        """None: the graph is all."""
        return {}

    def _open(self) -> Any:
        if self._session is None:
            onnxruntime = load_onnxruntime()
            options = onnxruntime.SessionOptions()
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
            options.log_severity_level = 4
            origin = self.path if self.path else self.model.SerializeToString()
            try:
                self._session = onnxruntime.InferenceSession(
                    origin, options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:
                raise ConversionFailed(
                    f"ONNX Runtime cannot open it: {first_line(error, 300)}",
                    hint="Check its operators and opset.",
                ) from error
        return self._session


def describe_value(value: Any) -> TensorSpec:
    """The spec of a graph's input or output. Raises `ConversionFailed` for what is no tensor."""
    onnx = load_onnx()
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ConversionFailed(
            f"{value.name!r} is a {kind or 'value without a type'}, not a tensor.",
            hint="Export the model with tensors alone (scikit-learn: zipmap=False).",
        )
    tensor = value.type.tensor_type
    if tensor.elem_type == onnx.TensorProto.STRING:
        dtype = "string"
    else:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    sides = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in tensor.shape.dim
    )
    return TensorSpec(value.name, dtype, sides)
