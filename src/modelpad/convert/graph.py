"""What is done to an ONNX graph between the framework's export and the bundle.

Works on `onnx.ModelProto`; knows nothing of where the graph came from.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from modelpad.convert.input_plan import InputPlan
from modelpad.convert.output_plan import OutputPlan
from modelpad.convert.source import TensorSpec
from modelpad.convert.steps import Step
from modelpad.errors import ConversionFailed, MissingExtra, first_line
from modelpad.fields import Field
from modelpad.runtime import disable_telemetry, load_onnxruntime

# What our own steps need, what older graphs are brought to, and the newest that every ONNX Runtime
# we allow (1.20) runs.
OLDEST_OPSET, OPSET, NEWEST_OPSET = 13, 17, 21
STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
INLINE_BYTES = 1_900_000_000  # a protobuf holds less than 2 GiB
BATCH = "batch"


def load_onnx() -> Any:
    """The `onnx` package. Raises `MissingExtra`.

    The exporters that use it may import ONNX Runtime themselves, so its telemetry is disabled here.
    """
    disable_telemetry()
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("onnx", extra="onnx") from error
    return onnx


def finish_graph(model: Any, inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan]) -> Any:
    """The model with any number of items at once, preparation before and finishing after it.

    Its inputs and outputs are the fields'. Raises `ConversionFailed` when the graph makes no sense.
    """
    onnx = load_onnx()
    model = upgrade_opset(model)
    graph = model.graph
    strip_notes(graph)
    names = {value.name for value in graph.input} - {value.name for value in graph.initializer}
    extra = names - {plan.spec.name for plan in inputs}
    if extra:
        raise ConversionFailed(
            f"The converted graph takes inputs that the model does not name: {sorted(extra)}.",
            hint="Please report this with the model's framework and version.",
        )
    free_batch(graph, [plan.spec.name for plan in inputs])
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
            f"The converted graph makes no sense: {first_line(error)}",
            hint="Please report this with the model's framework and version.",
        ) from error
    return model


def upgrade_opset(model: Any) -> Any:
    """The model in an opset that ONNX Runtime and our own steps can use.

    Raises `ConversionFailed` when ONNX has no way from the model's opset to that.
    """
    onnx = load_onnx()
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is None:
        model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
        return model
    if OLDEST_OPSET <= opset <= NEWEST_OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:
        if opset > NEWEST_OPSET:
            return model  # whether it runs is for ONNX Runtime to say
        raise ConversionFailed(
            f"The graph is of opset {opset} and cannot be brought to {OPSET}: {first_line(error)}",
            hint="Export the model again with a newer opset.",
        ) from error


def name_ends(model: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Any:
    """The model with its inputs and outputs, in order, named as the specs are.

    Raises `ConversionFailed` when there are more or fewer.
    """
    graph = model.graph
    constants = {value.name for value in graph.initializer}
    takes = [value for value in graph.input if value.name not in constants]
    for values, specs in ((takes, inputs), (graph.output, outputs)):
        if len(values) != len(specs):
            raise ConversionFailed(
                f"The exported graph has {len(values)} inputs or outputs, the model {len(specs)}:"
                f" {', '.join(value.name for value in values)}.",
                hint="An input that the model never uses cannot be kept: take it out.",
            )
    for values, specs in ((takes, inputs), (graph.output, outputs)):
        for index, value in enumerate(values):
            rename_value(graph, value.name, unused_name(graph, f"end/{index}"))
        for value, spec in zip(values, specs, strict=True):
            if spec.name in value_names(graph):
                rename_value(graph, spec.name, unused_name(graph, f"{spec.name}_inner"))
            rename_value(graph, value.name, spec.name)
    return model


def keep_outputs(model: Any, names: Mapping[str, str]) -> Any:
    """The model with only the outputs that `names` has, renamed to its values."""
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


def strip_notes(graph: Any) -> None:
    """Takes out what exporters note for people: source paths, stack traces."""
    for each in subgraphs(graph):
        each.doc_string = ""
        for node in each.node:
            node.doc_string = ""
            del node.metadata_props[:]


def subgraphs(graph: Any) -> Iterator[Any]:
    """The graph and every graph inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            for each in inner:
                yield from subgraphs(each)


def value_names(graph: Any) -> set[str]:
    """Every value's name, also of graphs inside."""
    names = set()
    for each in subgraphs(graph):
        names |= {value.name for value in (*each.input, *each.output, *each.initializer)}
        for node in each.node:
            names |= {*node.input, *node.output}
    return names - {""}


def unused_name(graph: Any, wanted: str) -> str:
    """`wanted`, or with a number after it."""
    taken, name, number = value_names(graph), wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}{number}"
    return name


def rename_value(graph: Any, old: str, new: str) -> None:
    """Renames one value everywhere in a graph and the graphs inside."""
    for each in subgraphs(graph):
        for node in each.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]
        for value in (*each.input, *each.output, *each.value_info, *each.initializer):
            if value.name == old:
                value.name = new


def free_batch(graph: Any, inputs: Sequence[str]) -> None:
    """Lets the first side of inputs and outputs be any number, where an export has fixed it."""
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
                freed = np.concatenate([[-1], shape[1:]]).astype(np.int64)
                tensor.CopyFrom(onnx.numpy_helper.from_array(freed, tensor.name))


def prepend_steps(graph: Any, plan: InputPlan) -> None:
    """Puts a plan's steps before the model's own input."""
    if not plan.steps:
        rename_value(graph, plan.spec.name, plan.field.name)
        return
    position = [value.name for value in graph.input].index(plan.spec.name)
    add = NodeAdder(graph, plan.field.name)
    add.steps(plan.steps, plan.field.name)
    add.nodes[-1].output[0] = plan.spec.name
    nodes = [*add.nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.input[position]
    graph.input.insert(position, describe_input(plan.field))


def append_steps(graph: Any, plan: OutputPlan) -> None:
    """Puts a plan's steps after the model's own output."""
    onnx = load_onnx()
    if plan.steps:
        add = NodeAdder(graph, plan.field.name)
        add.steps(plan.steps, plan.spec.name)
        add.nodes[-1].output[0] = plan.field.name
        graph.node.extend(add.nodes)
    elif plan.spec.name in {value.name for value in graph.input}:
        graph.node.append(onnx.helper.make_node("Identity", [plan.spec.name], [plan.field.name]))
    else:
        rename_value(graph, plan.spec.name, plan.field.name)


def describe_input(field: Field) -> Any:
    """The graph input of a field: its dtype and shape behind a free batch."""
    shape: tuple[int | None, ...]
    record = field.to_dict()
    dtype = "float32"
    if field.kind == "sketch":
        shape = (record["size"], record["size"])
    elif field.kind == "image":
        shape = (record["height"], record["width"], record["channels"])
    elif field.kind == "tensor":
        shape, dtype = tuple(record["shape"]), record["dtype"]
    else:
        shape, dtype = (), "string"
    return describe_value(field.name, dtype, (None, *shape))


def describe_value(name: str, dtype: str, shape: Sequence[int | None]) -> Any:
    """An input or output of a graph; the first side is the batch, None is free."""
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
    return onnx.helper.make_tensor_value_info(name, element, sides)


class NodeAdder:
    """Collects the nodes of some steps; their constants go into the graph."""

    def __init__(self, graph: Any, prefix: str) -> None:
        self.graph, self.prefix = graph, prefix
        self.nodes: list[Any] = []

    def steps(self, steps: Sequence[Step], value: str) -> str:
        """Adds all steps after `value`; answers the last value's name."""
        for step in steps:
            value = step.add(self, value)
        return value

    def __call__(
        self, op: str, inputs: Sequence[str], constants: Sequence[Any] = (), **attributes: Any
    ) -> str:
        """Adds a node and answers its output's name."""
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


def optimise(model: Any) -> Any:
    """The graph as ONNX Runtime simplifies it with standard operators; as it is where it cannot.

    Constants are folded, and batch normalisation goes into the convolution before it.
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
            simpler = onnx.load(after)
        except Exception:
            return model
    standard = {"", "ai.onnx", "ai.onnx.ml"} | {node.domain for node in model.graph.node}
    if any(node.domain not in standard for node in simpler.graph.node):
        return model
    return simpler


def save_graph(model: Any, path: Path) -> list[Path]:
    """Writes the graph; weights beyond a protobuf's size go beside it. Answers the files."""
    onnx = load_onnx()
    data = path.with_name(path.name + ".data")
    large = model.ByteSize() > INLINE_BYTES
    onnx.save_model(model, path, save_as_external_data=large, location=data.name)
    return [path, data] if large else [path]


def count_operators(model: Any) -> Mapping[str, int]:
    """How many nodes of each operator there are, also in graphs inside."""
    return Counter(node.op_type for graph in subgraphs(model.graph) for node in graph.node)


def _follow_rename(
    inputs: Sequence[InputPlan], outputs: Sequence[OutputPlan], old: str, new: str
) -> tuple[list[InputPlan], list[OutputPlan]]:
    def follow(plan: Any) -> Any:
        return replace(plan, spec=plan.spec.renamed(new)) if plan.spec.name == old else plan

    return [follow(plan) for plan in inputs], [follow(plan) for plan in outputs]
