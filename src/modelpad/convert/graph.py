"""Transforms an exported ONNX graph into a bundle's graph.

It works on `onnx.ModelProto` and is independent of frameworks.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from modelpad.convert.input_plan import InputPlan
from modelpad.convert.output_plan import OutputPlan
from modelpad.convert.source import Shape, TensorSpec
from modelpad.convert.steps import Step
from modelpad.errors import ConversionFailed, MissingExtra, first_line
from modelpad.fields import Field, Image, Sketch, Tensor
from modelpad.fields.arrays import Array
from modelpad.runtime import disable_telemetry, load_onnxruntime

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

# The oldest opset that our own steps support, the one to which older graphs are upgraded, and the
# newest that every supported ONNX Runtime (from 1.20) runs.
MIN_OPSET, OPSET, MAX_OPSET = 13, 17, 21
STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
MAX_INLINE_BYTES = 1_900_000_000  # a protobuf message is limited to 2 GiB
BATCH = "batch"

PlanT = TypeVar("PlanT", InputPlan, OutputPlan)


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
    model: ModelProto, inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan]
) -> ModelProto:
    """Adds pre- and postprocessing to a model and makes its batch axis dynamic.

    Its inputs and outputs become those of the fields. Raises `ConversionFailed` if the resulting
    graph is invalid.
    """
    onnx = load_onnx()
    model = upgrade_opset(model)
    graph = model.graph
    strip_metadata(graph)
    names = {value.name for value in graph.input} - {value.name for value in graph.initializer}
    extra = names - {plan.spec.name for plan in inputs}
    if extra:
        raise ConversionFailed(
            f"The converted graph has unexpected inputs: {sorted(extra)}.",
            hint="Please report this, with the model's framework and version.",
        )
    make_batch_dynamic(graph, [plan.spec.name for plan in inputs])
    fields = {plan.field.name for plan in inputs} | {plan.field.name for plan in outputs}
    for value in sorted(fields & value_names(graph)):
        rename_value(graph, value, unused_name(graph, f"{value}_inner"))
        inputs, outputs = _follow_rename(inputs, outputs, value, f"{value}_inner")
    for plan in inputs:
        prepend_steps(graph, plan)
    for output in outputs:
        append_steps(graph, output)
    del graph.output[:]
    graph.output.extend(describe_value(plan.field.name, plan.dtype, plan.shape) for plan in outputs)
    del graph.value_info[:]
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ConversionFailed(
            f"The converted graph is invalid: {first_line(error)}",
            hint="Please report this, with the model's framework and version.",
        ) from error
    return model


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


def select_outputs(model: ModelProto, names: Mapping[str, str]) -> ModelProto:
    """Keeps only the outputs in `names`, renamed to its values."""
    graph = model.graph
    kept = [value for value in graph.output if value.name in names]
    copies = [type(value).FromString(value.SerializeToString()) for value in kept]
    del graph.output[:]
    graph.output.extend(copies)
    for old, new in names.items():
        if old != new:
            if new in value_names(graph):
                rename_value(graph, new, unused_name(graph, f"{new}_inner"))
            rename_value(graph, old, new)
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


def make_batch_dynamic(graph: GraphProto, inputs: Sequence[str]) -> None:
    """Makes the batch axis of inputs and outputs dynamic where an exporter has fixed it.

    Reshapes to a fixed batch size are changed accordingly.
    """
    onnx = load_onnx()
    fixed: set[int] = set()
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name in inputs and len(dims):
            if dims[0].dim_value:
                fixed.add(dims[0].dim_value)
            dims[0].dim_param = BATCH
    for value in graph.output:
        dims = value.type.tensor_type.shape.dim
        if len(dims):
            dims[0].dim_param = BATCH
    if not fixed:
        return
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            tensor = constants[node.input[1]]
            shape = onnx.numpy_helper.to_array(tensor)
            if shape.size and shape.flat[0] in fixed and not (shape == -1).any():
                dynamic = np.concatenate([[-1], shape[1:]]).astype(np.int64)
                tensor.CopyFrom(onnx.numpy_helper.from_array(dynamic, tensor.name))


def prepend_steps(graph: GraphProto, plan: InputPlan) -> None:
    """Inserts a plan's steps before the model's input."""
    if not plan.steps:
        rename_value(graph, plan.spec.name, plan.field.name)
        return
    position = [value.name for value in graph.input].index(plan.spec.name)
    builder = NodeBuilder(graph, plan.field.name)
    builder.add_steps(plan.steps, plan.field.name)
    builder.nodes[-1].output[0] = plan.spec.name
    nodes = [*builder.nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.input[position]
    graph.input.insert(position, describe_input(plan.field))


def append_steps(graph: GraphProto, plan: OutputPlan) -> None:
    """Adds a plan's steps after the model's output."""
    onnx = load_onnx()
    if plan.steps:
        builder = NodeBuilder(graph, plan.field.name)
        builder.add_steps(plan.steps, plan.spec.name)
        builder.nodes[-1].output[0] = plan.field.name
        graph.node.extend(builder.nodes)
    elif plan.spec.name in {value.name for value in graph.input}:
        graph.node.append(onnx.helper.make_node("Identity", [plan.spec.name], [plan.field.name]))
    else:
        rename_value(graph, plan.spec.name, plan.field.name)


def describe_input(field: Field) -> ValueInfoProto:
    """A field as a graph input, with a dynamic batch axis."""
    shape, dtype = _item_type(field)
    return describe_value(field.name, dtype, (None, *shape))


def _item_type(field: Field) -> tuple[Shape, str]:
    """The shape and dtype of one decoded item."""
    if isinstance(field, Sketch):
        return (field.size, field.size), "float32"
    if isinstance(field, Image):
        return (field.height, field.width, field.channels), "float32"
    if isinstance(field, Tensor):
        return field.shape, field.dtype
    return (), "string"


def describe_value(name: str, dtype: str, shape: Shape) -> ValueInfoProto:
    """An input or output of a graph. `shape` starts with the batch axis."""
    onnx = load_onnx()
    sides = [
        BATCH if axis == 0 else f"{name}_{axis}" if side is None else side
        for axis, side in enumerate(shape)
    ]
    element = (
        onnx.TensorProto.STRING
        if dtype == "string"
        else onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    )
    value: ValueInfoProto = onnx.helper.make_tensor_value_info(name, element, sides)
    return value


class NodeBuilder:
    """Builds the nodes of some steps. Constants are added to the graph, nodes to `nodes`."""

    def __init__(self, graph: GraphProto, prefix: str) -> None:
        self.graph, self.prefix = graph, prefix
        self.nodes: list[NodeProto] = []

    def add_steps(self, steps: Sequence[Step], value: str) -> str:
        """Adds nodes for all steps, starting from `value`; returns the name of the result."""
        for step in steps:
            value = step.add(self, value)
        return value

    def __call__(
        self,
        op: str,
        inputs: Sequence[str],
        constants: Sequence[Array] = (),
        **attributes: int | Sequence[int],
    ) -> str:
        """See `steps.AddNode`."""
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


def _follow_rename(
    inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan], old: str, new: str
) -> tuple[list[InputPlan], list[OutputPlan]]:
    def follow(plan: PlanT) -> PlanT:
        return replace(plan, spec=plan.spec.renamed(new)) if plan.spec.name == old else plan

    return [follow(plan) for plan in inputs], [follow(plan) for plan in outputs]
