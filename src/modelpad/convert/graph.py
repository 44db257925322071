"""Turns an exported ONNX graph into a bundle's graph, without changing its contract.

It works on `onnx.ModelProto` and is independent of frameworks.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from modelpad.convert.source import TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, first_line
from modelpad.runtime import disable_telemetry, load_onnxruntime

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    from modelpad.fields.arrays import Array

# The oldest opset that our own steps support, the one to which older graphs are upgraded, and the
# newest that every supported ONNX Runtime (from 1.20) runs.
MIN_OPSET, OPSET, MAX_OPSET = 13, 17, 21
STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
MAX_INLINE_BYTES = 1_900_000_000  # a protobuf message is limited to 2 GiB
BATCH = "batch"  # the symbol of a free batch axis
# Operators that change the layout of values only.
LAYOUT = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
MAX_LAYOUT_STEPS = 20


def load_onnx() -> ModuleType:
    """The `onnx` package. Raises `MissingExtra`.

    Exporters that use it may import ONNX Runtime themselves, so its telemetry is disabled here.
    """
    disable_telemetry()
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("onnx", extra="onnx") from error
    return onnx


def finish_graph(
    model: ModelProto, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> ModelProto:
    """An exported graph in a supported opset, without exporters' comments.

    Its inputs and outputs stay as they are. Raises `ConversionFailed` if the graph is invalid or
    has others than the specs.
    """
    onnx = load_onnx()
    model = upgrade_opset(model)
    graph = model.graph
    strip_metadata(graph)
    constants = {value.name for value in graph.initializer}
    names = {value.name for value in graph.input} - constants
    wrong = names ^ {spec.name for spec in inputs}
    wrong |= {spec.name for spec in outputs} - {value.name for value in graph.output}
    if wrong:
        raise ConversionFailed(
            f"The exported graph has other inputs or outputs than the model: {sorted(wrong)}.",
            hint="Please report this, with the model's framework and version.",
        )
    del graph.value_info[:]
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ConversionFailed(
            f"The converted graph is invalid: {first_line(error)}",
            hint="Please report this, with the model's framework and version.",
        ) from error
    return model


def last_operator(model: ModelProto, name: str) -> str:
    """The operator that an output comes from, apart from layout; "" if there is none."""
    producers = {output: node for node in model.graph.node for output in node.output}
    for _ in range(MAX_LAYOUT_STEPS):
        node = producers.get(name)
        if node is None:
            return ""
        if node.op_type not in LAYOUT:
            return str(node.op_type)
        name = node.input[0]
    return ""


def upgrade_opset(model: ModelProto) -> ModelProto:
    """The model in an opset that ONNX Runtime and our own steps support.

    Raises `ConversionFailed` if ONNX cannot convert it to one.
    """
    onnx = load_onnx()
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is None:
        model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
        return model
    if MIN_OPSET <= opset <= MAX_OPSET:
        return model
    try:
        upgraded: ModelProto = onnx.version_converter.convert_version(model, OPSET)
        return upgraded
    except Exception as error:
        if opset > MAX_OPSET:
            return model  # ONNX Runtime may support it
        raise ConversionFailed(
            f"The graph's opset {opset} cannot be converted to {OPSET}: {first_line(error)}",
            hint="Export the model again with a newer opset.",
        ) from error


def rename_io(
    model: ModelProto, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> ModelProto:
    """Names the graph's inputs and outputs, in order, like the specs.

    Raises `ConversionFailed` if the counts differ.
    """
    graph = model.graph
    constants = {value.name for value in graph.initializer}
    graph_inputs = [value for value in graph.input if value.name not in constants]
    sides = (("inputs", graph_inputs, inputs), ("outputs", [*graph.output], outputs))
    for side, values, specs in sides:
        if len(values) != len(specs):
            raise ConversionFailed(
                f"The exported graph has {len(values)} {side}, but the model has {len(specs)}:"
                f" {', '.join(value.name for value in values)}.",
                hint="Remove inputs that the model never uses.",
            )
    for _, values, specs in sides:
        for index, value in enumerate(values):
            rename_value(graph, value.name, unused_name(graph, f"io/{index}"))
        for value, spec in zip(values, specs, strict=True):
            if spec.name in value_names(graph):
                rename_value(graph, spec.name, unused_name(graph, f"{spec.name}_inner"))
            rename_value(graph, value.name, spec.name)
    return model


def strip_metadata(graph: GraphProto) -> None:
    """Removes exporters' comments, such as source paths and stack traces."""
    for subgraph in subgraphs(graph):
        subgraph.doc_string = ""
        for node in subgraph.node:
            node.doc_string = ""
            del node.metadata_props[:]


def subgraphs(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph and all graphs nested in its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            nested = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            for subgraph in nested:
                yield from subgraphs(subgraph)


def value_names(graph: GraphProto) -> set[str]:
    """The names of all values, including nested graphs."""
    names: set[str] = set()
    for subgraph in subgraphs(graph):
        names |= {value.name for value in (*subgraph.input, *subgraph.output)}
        names |= {tensor.name for tensor in subgraph.initializer}
        for node in subgraph.node:
            names |= {*node.input, *node.output}
    return names - {""}


def unused_name(graph: GraphProto, base: str) -> str:
    """`base`, with a number appended if it is in use."""
    used, name, number = value_names(graph), base, 1
    while name in used:
        number += 1
        name = f"{base}{number}"
    return name


def rename_value(graph: GraphProto, old: str, new: str) -> None:
    """Renames a value everywhere in a graph and its nested graphs."""
    for subgraph in subgraphs(graph):
        for node in subgraph.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]
        for value in (*subgraph.input, *subgraph.output, *subgraph.value_info):
            if value.name == old:
                value.name = new
        for tensor in subgraph.initializer:
            if tensor.name == old:
                tensor.name = new


class NodeBuilder:
    """Builds nodes one after another. Constants are added to the graph, nodes to `nodes`."""

    def __init__(self, graph: GraphProto, prefix: str) -> None:
        self.graph, self.prefix = graph, prefix
        self.nodes: list[NodeProto] = []

    def __call__(
        self,
        op: str,
        inputs: Sequence[str],
        constants: Sequence[Array] = (),
        **attributes: int | Sequence[int],
    ) -> str:
        """Adds a node with some values and constants as inputs; returns the name of its output."""
        onnx = load_onnx()
        number = len(self.nodes)
        names = list(inputs)
        for index, constant in enumerate(constants):
            name = unused_name(self.graph, f"{self.prefix}/{op}_{number}_{index}")
            self.graph.initializer.append(onnx.numpy_helper.from_array(constant, name))
            names.append(name)
        output = unused_name(self.graph, f"{self.prefix}/{op}_{number}")
        self.nodes.append(onnx.helper.make_node(op, names, [output], name=output, **attributes))
        return output


def optimise(model: ModelProto) -> ModelProto:
    """The graph with ONNX Runtime's basic optimisations, unless they fail or add custom operators.

    Constants are folded, and batch normalisation is fused into the preceding convolution.
    """
    onnxruntime, onnx = load_onnxruntime(), load_onnx()
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(after)
        options.log_severity_level = 4
        try:
            save_graph(model, before)
            onnxruntime.InferenceSession(before, options, providers=["CPUExecutionProvider"])
            optimised: ModelProto = onnx.load(after)
        except Exception:
            return model
    standard = {"", "ai.onnx", "ai.onnx.ml"} | {node.domain for node in model.graph.node}
    if any(node.domain not in standard for node in optimised.graph.node):
        return model
    return optimised


def save_graph(model: ModelProto, path: Path) -> list[Path]:
    """Writes the graph, with large weights in a second file. Returns the files."""
    onnx = load_onnx()
    data = path.with_name(path.name + ".data")
    large = model.ByteSize() > MAX_INLINE_BYTES
    onnx.save_model(model, path, save_as_external_data=large, location=data.name)
    return [path, data] if large else [path]


def count_operators(model: ModelProto) -> Mapping[str, int]:
    """The number of nodes of each operator, including nested graphs."""
    return Counter(node.op_type for graph in subgraphs(model.graph) for node in graph.node)
