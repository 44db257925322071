"""Determines whether a graph's cost depends only on the shapes of its inputs.

The base install has no `onnx` package, so this reads the protocol buffers itself, from a mapped
file, skipping weights. It reads the messages of `onnx.proto` that describe operators and how values
flow between them, but not what operators compute.
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from modelpad.bundle.protobuf import walk

# Field numbers of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
MODEL_GRAPH, MODEL_FUNCTION = 7, 25
GRAPH_NODE, FUNCTION_NODE = 1, 7
FUNCTION_NAME, FUNCTION_INPUT, FUNCTION_DOMAIN = 1, 4, 10
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 4, 5, 7
ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS = 6, 11

STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
# These run a nested graph, perhaps repeatedly. Any other node with a nested graph counts as one.
CONTROL_FLOW = ("Loop", "Scan", "If", "SequenceMap")
# Operators whose output size depends on the value of an input: the positions of such inputs.
SIZED_BY_VALUES: Mapping[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "DFT": (1,),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "ImageDecoder": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Tile": (1,),
    "Upsample": (1,),
}
SHAPE_OPERATORS = ("Shape", "Size")  # their outputs depend on shapes only


class Node(msgspec.Struct):
    """An operator, or a call of one of the model's functions, with its inputs and outputs."""

    operator: str = ""
    domain: str = ""
    inputs: list[str] = msgspec.field(default_factory=list)
    outputs: list[str] = msgspec.field(default_factory=list)
    holds_graph: bool = False


def is_bounded(path: Path, inputs: Collection[str]) -> bool:
    """Whether a graph's cost depends only on the shapes of `inputs`, not on their values.

    False if that is uncertain: for loops and branches (also in functions), outputs whose size
    depends on an input's values, custom operators, and invalid files.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _is_model_bounded(data, inputs)
    except (ValueError, OSError, RecursionError):
        return False


def list_operators(path: Path) -> set[str]:
    """The operators of a graph, without those of nested graphs and functions.

    Raises `OSError` or `ValueError` if it cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return {
            node.operator
            for number, start, end in walk(data, 0, len(data))
            if number == MODEL_GRAPH
            for node in _read_nodes(data, start, end, GRAPH_NODE)
        }


def _is_model_bounded(data: mmap.mmap, inputs: Collection[str]) -> bool:
    nodes: list[Node] = []
    functions: list[tuple[list[Node], list[str]]] = []
    domains = {*STANDARD_DOMAINS}
    for number, start, end in walk(data, 0, len(data)):
        if number == MODEL_GRAPH:
            nodes += _read_nodes(data, start, end, GRAPH_NODE)
        elif number == MODEL_FUNCTION:
            functions.append(
                (
                    _read_nodes(data, start, end, FUNCTION_NODE),
                    _read_texts(data, start, end, FUNCTION_INPUT),
                )
            )
            domains |= {*_read_texts(data, start, end, FUNCTION_DOMAIN)}
    bodies = [(nodes, [*inputs]), *functions]  # a function's inputs may be a model input's values
    return all(_are_bounded(body, arguments, domains) for body, arguments in bodies)


def _are_bounded(nodes: list[Node], inputs: Collection[str], domains: Collection[str]) -> bool:
    """`nodes` are in topological order."""
    dependent = {*inputs}  # values that depend on an input's values
    for node in nodes:
        if node.holds_graph or node.operator in CONTROL_FLOW or node.domain not in domains:
            return False
        sizes = SIZED_BY_VALUES.get(node.operator, ())
        if any(at < len(node.inputs) and node.inputs[at] in dependent for at in sizes):
            return False
        if node.operator not in SHAPE_OPERATORS and not dependent.isdisjoint(node.inputs):
            dependent.update(node.outputs)
    return True


def _read_nodes(data: mmap.mmap, start: int, end: int, wanted: int) -> list[Node]:
    return [_read_node(data, *at) for number, *at in walk(data, start, end) if number == wanted]


def _read_node(data: mmap.mmap, start: int, end: int) -> Node:
    node = Node()
    for number, begin, stop in walk(data, start, end):
        if number == NODE_ATTRIBUTE:
            parts = {part for part, *_ in walk(data, begin, stop)}
            node.holds_graph |= not parts.isdisjoint((ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS))
        elif number in (NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_DOMAIN):
            text = data[begin:stop].decode("utf-8")
            if number == NODE_INPUT:
                node.inputs.append(text)
            elif number == NODE_OUTPUT:
                node.outputs.append(text)
            elif number == NODE_OPERATOR:
                node.operator = text
            else:
                node.domain = text
    return node


def _read_texts(data: mmap.mmap, start: int, end: int, wanted: int) -> list[str]:
    found = [at for number, *at in walk(data, start, end) if number == wanted]
    return [data[begin:stop].decode("utf-8") for begin, stop in found]
