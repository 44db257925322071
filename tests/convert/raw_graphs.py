"""Small ONNX graphs with every kind of contract that a client may rely on, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

F, I32, I64, U8, S, BF = (
    TensorProto.FLOAT,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.STRING,
    TensorProto.BFLOAT16,
)
Values = Sequence[tuple[str, int, Sequence[Any]]]


@dataclass(frozen=True)
class Case:
    """A graph, the arguments of its import, and raw inputs to ask it."""

    model: Any
    inputs: Mapping[str, Any]
    arguments: tuple[str, ...] = ()
    by_rows: bool = True  # TensorFlow Serving's rows put the batch axis in front


def graph(nodes: Sequence[Any], inputs: Values, outputs: Values, **constants: Any) -> Any:
    """A model of opset 17; a side is a number, or a symbol if it is free."""
    made = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    """A node; names are separated by spaces."""
    return helper.make_node(kind, inputs.split(" "), outputs.split(" "), **attributes)


RNG = np.random.default_rng(5)


def numbers(*shape: int) -> Any:
    return RNG.normal(0, 1, shape).astype(np.float32)


def odd_names() -> Case:
    """Names that exporters generate, with characters that are special elsewhere."""
    nodes = [node("Mul", "serving_default_x:0 two", "model/out:0")]
    model = graph(
        nodes,
        [("serving_default_x:0", F, ["n", 4])],
        [("model/out:0", F, ["n", 4])],
        two=np.float32(2),
    )
    return Case(model, {"serving_default_x:0": numbers(3, 4)})


def numbered() -> Case:
    nodes = [node("Gemm", "keras_tensor w", "75")]
    model = graph(nodes, [("keras_tensor", F, ["n", 3])], [("75", F, ["n", 2])], w=numbers(3, 2))
    return Case(model, {"keras_tensor": numbers(2, 3)}, ("--output", "labels:no,yes"))


def triton_simple() -> Case:
    """Triton's `simple`: two inputs and two outputs of int32 [n, 16]."""
    nodes = [node("Add", "INPUT0 INPUT1", "OUTPUT0"), node("Sub", "INPUT0 INPUT1", "OUTPUT1")]
    pair = [(name, I32, ["n", 16]) for name in ("INPUT0", "INPUT1")]
    out = [(name, I32, ["n", 16]) for name in ("OUTPUT0", "OUTPUT1")]
    first = np.arange(16, dtype=np.int32)[None]
    return Case(graph(nodes, pair, out), {"INPUT0": first, "INPUT1": np.ones_like(first)})


def channels_first() -> Case:
    """A picture model in NCHW, trained on 0..1: raw clients send 0..1, the page an image."""
    nodes = [
        node("Conv", "data_0 k", "c", pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", "c", "p"),
        node("Flatten", "p", "fc6_1"),
    ]
    model = graph(
        nodes,
        [("data_0", F, ["n", 3, 16, 16])],
        [("fc6_1", F, ["n", 5])],
        k=numbers(5, 3, 3, 3),
    )
    inputs = {"data_0": RNG.uniform(0, 1, (2, 3, 16, 16)).astype(np.float32)}
    return Case(model, inputs, ("--input", "image,scale=0..1"))


def bytes_picture() -> Case:
    """A model of uint8 pixels: the mean of each picture."""
    nodes = [
        node("Cast", "pixels", "f", to=F),
        node("ReduceMean", "f", "mean", axes=[1, 2, 3], keepdims=0),
    ]
    model = graph(nodes, [("pixels", U8, ["n", 12, 12, 3])], [("mean", F, ["n"])])
    return Case(model, {"pixels": RNG.integers(0, 256, (2, 12, 12, 3)).astype(np.uint8)})


def column() -> Case:
    """An output (n, 1) keeps its axis."""
    model = graph(
        [node("Gemm", "x w", "y")], [("x", F, ["n", 4])], [("y", F, ["n", 1])], w=numbers(4, 1)
    )
    return Case(model, {"x": numbers(3, 4)})


def text_columns() -> Case:
    """Strings (n, 1) in, strings (n, 1) out."""
    nodes = [node("Identity", "words", "same")]
    model = graph(nodes, [("words", S, ["n", 1])], [("same", S, ["n", 1])])
    return Case(model, {"words": np.array([["one"], ["zwei ä"]], dtype=object)})


def scalar_output() -> Case:
    """One number for a whole batch, beside one for each item."""
    nodes = [node("ReduceSum", "x", "total", keepdims=0), node("Neg", "x", "each")]
    model = graph(nodes, [("x", F, ["n", 2])], [("total", F, []), ("each", F, ["n", 2])])
    return Case(model, {"x": numbers(1, 2)}, by_rows=False)


def fixed_batch() -> Case:
    """A detector's contract: exactly one picture, any number of boxes."""
    nodes = [
        node("ReduceMax", "images", "m", axes=[1], keepdims=0),
        node("Greater", "m limit", "b"),
        node("NonZero", "b", "z"),
        node("Transpose", "z", "boxes", perm=[1, 0]),
        node("ReduceMean", "images", "score", axes=[2, 3], keepdims=0),
    ]
    model = graph(
        nodes,
        [("images", F, [1, 3, 16, 16])],
        [("boxes", I64, ["k", 3]), ("score", F, [1, 3])],
        limit=np.float32(1.5),
    )
    return Case(model, {"images": numbers(1, 3, 16, 16)}, ("--input", "tensor"), by_rows=False)


def stateful() -> Case:
    """A voice detector's contract: a state with the batch in the middle, and a scalar rate."""
    nodes = [
        node("ReduceMean", "input", "mean", axes=[1], keepdims=1),
        node("Cast", "sr", "rate", to=F),
        node("Div", "mean rate", "output"),
        node("Unsqueeze", "mean zero", "up"),
        node("Add", "state up", "stateN"),
    ]
    model = graph(
        nodes,
        [("input", F, ["b", "samples"]), ("state", F, [2, "b", 8]), ("sr", I64, [])],
        [("output", F, ["b", 1]), ("stateN", F, [2, "b", 8])],
        zero=np.array([0], np.int64),
    )
    inputs = {"input": numbers(1, 64), "state": numbers(2, 1, 8), "sr": np.array(16000, np.int64)}
    return Case(model, inputs, by_rows=False)


def time_first() -> Case:
    """Features (time, batch, channels), as recognisers return them."""
    nodes = [node("Transpose", "x", "steps", perm=[1, 0, 2])]
    model = graph(nodes, [("x", F, ["n", "t", 4])], [("steps", F, ["t", "n", 4])])
    return Case(model, {"x": numbers(2, 5, 4)}, by_rows=False)


CASES: dict[str, Callable[[], Case]] = {
    each.__name__: each
    for each in (
        *(odd_names, numbered, triton_simple, channels_first, bytes_picture, column),
        *(text_columns, scalar_output, fixed_batch, stateful, time_first),
    )
}
