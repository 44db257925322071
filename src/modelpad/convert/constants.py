"""The constants of a graph, and what simple operators make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

    from modelpad.fields.arrays import Array

FOLDED = {
    *("Cast", "Expand", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
    *("Add", "Div", "Max", "Mul", "Sqrt", "Sub", "Reciprocal"),
}
MAX_DEPTH = 12
MAX_ELEMENTS = 100_000


class Constants:
    """Looks up values that do not depend on a graph's inputs."""

    def __init__(self, graph: GraphProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._producers: dict[str, NodeProto] = {
            output: node for node in graph.node for output in node.output
        }

    def find(self, name: str, depth: int = 0) -> Array | None:
        """The value called `name`; None if it is not constant, or too complicated to compute.

        Shapes are not kept: layout operators return their operand.
        """
        import onnx

        if name in self._tensors:
            if np.prod(self._tensors[name].dims) > MAX_ELEMENTS:
                return None
            found: Array = onnx.numpy_helper.to_array(self._tensors[name])
            return found
        node = self._producers.get(name)
        if node is None or depth > MAX_DEPTH:
            return None
        if node.op_type == "Constant":
            return self._read_constant(node)
        if node.op_type not in FOLDED:
            return None
        operands = [self.find(each, depth + 1) for each in node.input]
        if operands[0] is None:
            return None
        return _fold(node.op_type, [each for each in operands if each is not None])

    def _read_constant(self, node: NodeProto) -> Array | None:
        import onnx

        for attribute in node.attribute:
            if attribute.name == "value":
                found: Array = onnx.numpy_helper.to_array(attribute.t)
                return found
            if attribute.name in ("value_float", "value_int"):
                return np.asarray(onnx.helper.get_attribute_value(attribute))
        return None


def _fold(op: str, operands: list[Array]) -> Array | None:
    numbers = [each.astype(np.float64) for each in operands]
    if op == "Sqrt":
        return np.sqrt(numbers[0])
    if op == "Reciprocal":
        return 1 / numbers[0]
    if op not in ("Add", "Div", "Max", "Mul", "Sub"):
        return operands[0]
    if len(numbers) != 2:
        return None
    functions = {
        "Add": np.add,
        "Div": np.divide,
        "Max": np.maximum,
        "Mul": np.multiply,
        "Sub": np.subtract,
    }
    try:
        result: Array = functions[op](numbers[0].squeeze(), numbers[1].squeeze())
    except ValueError:
        return None
    return result
