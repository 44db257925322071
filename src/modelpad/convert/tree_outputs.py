"""What boosters make of the sums of their leaves: probabilities, counts, classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelpad.convert.source import TensorSpec
from modelpad.convert.trees import GraphWriter

Transform = Callable[[GraphWriter, str, str], str]


@dataclass(frozen=True, slots=True)
class Head:
    """A booster's output: `transform` of `scale` times the sums, (batch, outputs) of `dtype`.

    `layout` is `matrix`, `vector` for one output without its axis, or `pair` for the probabilities
    of not being and of being in the class.
    """

    name: str
    transform: str
    layout: str
    outputs: int
    dtype: str
    scale: float = 1.0

    @property
    def spec(self) -> TensorSpec:
        """The output's name, dtype and shape."""
        width = {"matrix": (self.outputs,), "vector": (), "pair": (2,)}[self.layout]
        return TensorSpec(self.name, self.dtype, (None, *width))


def add_head(graph: GraphWriter, head: Head, sums: str) -> str:
    """Adds the output, from sums in double precision."""
    if head.scale != 1:
        sums = graph.add("Mul", sums, graph.constant(head.scale))
    value = TRANSFORMS[head.transform](graph, graph.cast(sums, head.dtype), head.dtype)
    if head.layout == "vector":
        return graph.add("Squeeze", value, graph.constant([1], "int64"))
    if head.layout == "pair":
        other = graph.add("Sub", graph.constant(1.0, head.dtype), value)
        return graph.add("Concat", other, value, axis=1)
    return value


def _sigmoid(graph: GraphWriter, value: str, dtype: str) -> str:
    one = graph.constant(1.0, dtype)
    power = graph.add("Exp", graph.add("Neg", value))
    return graph.add("Div", one, graph.add("Add", one, power))


def _softplus(graph: GraphWriter, value: str, dtype: str) -> str:
    # max(x, 0) + log(1 + exp(-|x|)) does not overflow.
    power = graph.add("Exp", graph.add("Neg", graph.add("Abs", value)))
    log = graph.add("Log", graph.add("Add", power, graph.constant(1.0, dtype)))
    return graph.add("Add", graph.add("Max", value, graph.constant(0.0, dtype)), log)


def _hinge(graph: GraphWriter, value: str, dtype: str) -> str:
    return graph.cast(graph.add("Greater", value, graph.constant(0.0, dtype)), dtype)


def _signed_square(graph: GraphWriter, value: str, dtype: str) -> str:
    return graph.add("Mul", value, graph.add("Abs", value))


def _argmax(graph: GraphWriter, value: str, dtype: str) -> str:
    return graph.cast(graph.add("ArgMax", value, axis=1, keepdims=1), dtype)


def _mean_and_variance(graph: GraphWriter, value: str, dtype: str) -> str:
    mean = graph.add("Gather", value, graph.constant([0], "int64"), axis=1)
    log_deviation = graph.add("Gather", value, graph.constant([1], "int64"), axis=1)
    twice = graph.add("Add", log_deviation, log_deviation)
    return graph.add("Concat", mean, graph.add("Exp", twice), axis=1)


TRANSFORMS: dict[str, Transform] = {
    "none": lambda graph, value, dtype: value,
    "sigmoid": _sigmoid,
    "softmax": lambda graph, value, dtype: graph.add("Softmax", value, axis=1),
    "exp": lambda graph, value, dtype: graph.add("Exp", value),
    "softplus": _softplus,
    "hinge": _hinge,
    "signed square": _signed_square,
    "argmax": _argmax,
    "mean and variance": _mean_and_variance,
}
