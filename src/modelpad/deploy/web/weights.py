"""Rewrites products with weights in 8 bits, which ONNX Runtime Web would decode for every token.

Its `MatMulNBits` expands all weights in each run. The plain operators here expand them once, when
the graph is loaded, and round the other factor as the server's processor does, so that both compute
the same: with accuracy level 4, each block of a row in 8 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

NBITS = "MatMulNBits"
BITS, ZERO = 8, 128  # a weight is (code - 128) * scale
ROUNDS = 4  # the accuracy level at which the other factor is rounded
LARGEST = 127  # of a rounded number
SMALLEST = np.float32(1e-30)  # scale of a block of zeros


def expand_weights(body: bytes) -> bytes:
    """A graph without products of weights in 8 bits; others stay as they are.

    Raises `MissingExtra` without the `onnx` package.
    """
    from modelpad.convert.graph import load_onnx

    onnx = load_onnx()
    model = onnx.load_from_string(body)
    _Expansion(model.graph).run()
    written: bytes = model.SerializeToString()
    return written


def is_expandable(node: NodeProto, settings: Mapping[str, Any]) -> bool:
    """Whether all blocks are whole, in 8 bits, and around the same zero."""
    is_whole = settings["K"] % settings["block_size"] == 0
    return settings["bits"] == BITS and is_whole and len(node.input) == 3


class _Expansion:
    """Replaces nodes of a graph."""

    def __init__(self, graph: GraphProto) -> None:
        import onnx

        self._onnx = onnx
        self._graph = graph
        self._nodes: list[NodeProto] = []
        self._constants: set[str] = set()

    def run(self) -> None:
        for node in self._graph.node:
            settings = {
                each.name: self._onnx.helper.get_attribute_value(each) for each in node.attribute
            }
            if node.op_type == NBITS and is_expandable(node, settings):
                self._replace(node, settings)
            else:
                self._nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _replace(self, node: NodeProto, settings: dict[str, Any]) -> None:
        """Value @ weights.T, where codes are (N, K / block, block), and scales flat."""
        value, codes, scales = node.input
        columns, rows, block = settings["K"], settings["N"], settings["block_size"]
        wide = self._add("Sub", self._add("Cast", codes, to=1), np.float32(ZERO))
        scale = self._add("Reshape", scales, np.array([rows, -1, 1], np.int64))
        shape = np.array([rows, columns], np.int64)
        weights = self._add("Reshape", self._add("Mul", wide, scale), shape)
        if settings.get("accuracy_level") == ROUNDS:
            value = self._round(value, block)
        weights = self._add("Transpose", weights, perm=[1, 0])
        product = self._onnx.helper.make_node("MatMul", [value, weights], [*node.output])
        self._nodes.append(product)

    def _round(self, value: str, block: int) -> str:
        blocks = self._add("Reshape", value, np.array([-1, block], np.int64))
        largest = self._add(
            "ReduceMax", self._add("Abs", blocks), np.array([1], np.int64), keepdims=1
        )
        scale = self._add("Max", self._add("Div", largest, np.float32(LARGEST)), SMALLEST)
        rounded = self._add("Round", self._add("Div", blocks, scale))
        return self._add("Reshape", self._add("Mul", rounded, scale), self._add("Shape", value))

    def _add(
        self, operator: str, *inputs: str | np.generic | np.ndarray[Any, Any], **settings: Any
    ) -> str:
        names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        output = f"expanded_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, names, [output], **settings))
        return output

    def _constant(self, value: Any) -> str:
        name = f"expanded_{value.dtype}_{np.ravel(value).tolist()}"
        if name not in self._constants:
            self._constants.add(name)
            self._graph.initializer.append(
                self._onnx.numpy_helper.from_array(np.asarray(value), name)
            )
        return name
