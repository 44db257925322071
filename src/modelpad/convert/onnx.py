"""ONNX files: checked together with their external data, and run unchanged by ONNX Runtime."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from modelpad.bundle.external_data import find_locations
from modelpad.convert.archives import external_reference, unreadable
from modelpad.convert.graph import STANDARD_DOMAINS, load_onnx, subgraphs
from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.errors import ConversionFailed, NotTrusted, first_line
from modelpad.fields.arrays import Arrays
from modelpad.fields.tensor import DTYPES
from modelpad.foreign_json import Json
from modelpad.runtime import InferenceSession, load_onnxruntime

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto


def open_onnx(path: Path, request: ImportRequest) -> OnnxSource:
    """The graph in `path`, with its external data.

    Raises:
        NotTrusted: it uses custom operators, or external data outside the file's folder.
        ConversionFailed: the graph cannot be read or is invalid.
    """
    onnx = load_onnx()
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise ConversionFailed(
            f"{path.name} is not an ONNX file: {first_line(error, 200)}",
            hint="Check that the file is complete.",
        ) from error
    check_domains(model, path.name)
    check_external(model, path)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(path)
    except Exception as error:
        raise ConversionFailed(
            f"{path.name} is not a valid graph: {first_line(error, 300)}",
            hint="Check it with onnx.checker, or export it again.",
        ) from error
    return OnnxSource(model, path)


def check_domains(model: ModelProto, name: str) -> None:
    """Raises `NotTrusted` for custom operators, which need a library to run."""
    custom = sorted(
        {
            f"{node.domain}::{node.op_type}"
            for graph in subgraphs(model.graph)
            for node in graph.node
            if node.domain not in STANDARD_DOMAINS
        }
        - {f"{function.domain}::{function.name}" for function in model.functions}
    )
    if custom:
        raise NotTrusted(
            f"{name} uses custom operators: {', '.join(custom[:5])}.",
            hint="Export it with standard operators.",
            found=custom,
        )


def check_external(model: ModelProto, path: Path) -> None:
    """Raises `NotTrusted` if weights are stored outside the file's folder or behind a link.

    Raises `ConversionFailed` if they are missing or shorter than the graph declares.
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
            raise unreadable(path, f"the external data of {tensor.name!r} has no valid size")
        if sum(map(int, sizes)) > (path.parent / location).stat().st_size:
            raise ConversionFailed(
                f"{location} is shorter than {path.name} declares.", hint="Copy it again."
            )


def check_location(path: Path, location: str) -> None:
    """Checks the location of one tensor's external data. Raises like `check_external`."""
    parts = PurePosixPath(location).parts
    plain = location and not location.startswith("/") and ".." not in parts and "\\" not in location
    steps = [path.parent.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    if not plain or any(step.is_symlink() for step in steps):
        raise external_reference(path, f"weights stored in {location!r}")
    if not steps or not steps[-1].is_file():
        raise ConversionFailed(
            f"{path.name} stores its weights in {location}, which does not exist.",
            hint=f"Copy {location} into the folder of {path.name}.",
        )


def external_files(path: Path) -> list[Path]:
    """The files that store an ONNX file's external data; none for any other kind of file."""
    if path.suffix != ".onnx":
        return []
    try:
        locations = sorted(find_locations(path))
    except ValueError:
        return []  # opening the file will raise the error
    for location in locations:
        check_location(path, location)
    return [path.parent / location for location in locations]


def all_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """All tensors in the file or referenced by it, including nested graphs and functions."""
    nodes: list[NodeProto] = [node for function in model.functions for node in function.node]
    for graph in subgraphs(model.graph):
        nodes += graph.node
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


class OnnxSource:
    """An ONNX graph. The reference is ONNX Runtime without optimisations."""

    framework = "onnx"
    classes: tuple[str, ...] = ()

    def __init__(self, model: ModelProto, path: Path | None = None) -> None:
        """`path` is the file of `model`, needed for external data.

        Raises `ConversionFailed` if an input or output is not a tensor.
        """
        self.model = model
        self.path = path
        onnx = load_onnx()
        constants = {value.name for value in model.graph.initializer}
        inputs = [value for value in model.graph.input if value.name not in constants]
        axes = find_batch_axes(inputs)
        self.inputs = tuple(describe_value(value, axes[value.name]) for value in inputs)
        self.outputs = tuple(describe_value(value) for value in model.graph.output)
        self._session: InferenceSession | None = None
        opsets = {o.domain or "ai.onnx": o.version for o in model.opset_import}
        self.facts: Mapping[str, Json] = {
            "opset": opsets.get("ai.onnx"),
            "producer": f"{model.producer_name} {model.producer_version}".strip(),
            "onnx": onnx.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """ONNX Runtime's outputs for the original graph."""
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, self._open().run(names, batch), strict=True))

    def export(self) -> ModelProto:
        """A copy of the graph."""
        copy = type(self.model)()
        copy.CopyFrom(self.model)
        return copy

    def hard_samples(self) -> Sequence[Arrays]:
        """None."""
        return ()

    def files(self) -> Mapping[str, bytes | Path]:
        """No files: the bundle contains the graph."""
        return {}

    def _open(self) -> InferenceSession:
        if self._session is None:
            onnxruntime = load_onnxruntime()
            options = onnxruntime.SessionOptions()
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
            options.log_severity_level = 4
            origin = self.path if self.path else self.model.SerializeToString()
            try:
                session: InferenceSession = onnxruntime.InferenceSession(
                    origin, options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:
                raise ConversionFailed(
                    f"ONNX Runtime cannot load the graph: {first_line(error, 300)}",
                    hint="Check its operators and opset.",
                ) from error
            self._session = session
        return self._session


def find_batch_axes(values: Sequence[ValueInfoProto]) -> dict[str, int | None]:
    """The batch axis of each input.

    It is the first axis of the first input that has a free one or one of size 1. Another input
    has it where the same symbol stands, else in front if that side is free too, or 1 as there.
    """
    sides = {value.name: list(value.type.tensor_type.shape.dim) for value in values}
    axes: dict[str, int | None] = dict.fromkeys(sides)
    first = next((dims for dims in sides.values() if dims and dims[0].dim_value <= 1), None)
    if first is None:
        return axes
    symbol, size = first[0].dim_param, first[0].dim_value
    for name, dims in sides.items():
        same = [axis for axis, dim in enumerate(dims) if symbol and dim.dim_param == symbol]
        if same:
            axes[name] = same[0]
        elif dims and dims[0].dim_value == size:
            axes[name] = 0
    return axes


def describe_value(value: ValueInfoProto, batch_axis: int | None = 0) -> TensorSpec:
    """The spec of a graph's input or output.

    Raises `ConversionFailed` if it is not a tensor, or has a type that NumPy lacks.
    """
    onnx = load_onnx()
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ConversionFailed(
            f"{value.name!r} is a {kind or 'value without a type'}, not a tensor.",
            hint="Export the model with tensors only (scikit-learn: zipmap=False).",
        )
    tensor = value.type.tensor_type
    if tensor.elem_type == onnx.TensorProto.STRING:
        dtype = "string"
    else:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        if dtype not in DTYPES:
            raise ConversionFailed(
                f"{value.name!r} is {dtype}, which ONNX Runtime cannot exchange with Python.",
                hint="Add a Cast to float32 at this input or output when you export the model.",
            )
    sides = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in tensor.shape.dim
    )
    return TensorSpec(value.name, dtype, sides, batch_axis=batch_axis)
