"""Builds ONNX nodes inside a converter of skl2onnx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from modelpad.fields.arrays import Array

if TYPE_CHECKING:
    from onnx import GraphProto
    from skl2onnx.common._container import ModelComponentContainer
    from skl2onnx.common._topology import Scope

OPSET = 20
ML, MICROSOFT = "ai.onnx.ml", "com.microsoft"
VERSIONS = {"": OPSET, ML: 3, MICROSOFT: 1}

Operand = str | Array
"""The name of a value, or a constant."""


class Nodes:
    """Adds nodes to the graph of a converter. A call adds one and returns its output's name."""

    def __init__(self, scope: Scope, container: ModelComponentContainer) -> None:
        self.scope = scope
        self.container = container

    def __call__(
        self, kind: str, *inputs: Operand, domain: str = "", result: str = "", **attributes: Any
    ) -> str:
        """Adds a node with one output, named `result` if that is given."""
        names = [item if isinstance(item, str) else self.constant(item) for item in inputs]
        output = result or str(self.scope.get_unique_variable_name(kind.lower()))
        self.container.add_node(
            kind,
            names,
            [output],
            op_domain=domain,
            op_version=VERSIONS[domain],
            name=self.scope.get_unique_operator_name(kind),
            **attributes,
        )
        return output

    def constant(self, value: Array) -> str:
        """Adds a constant of any dtype, strings included."""
        from onnx import TensorProto
        from onnx.helper import np_dtype_to_tensor_dtype

        name = str(self.scope.get_unique_variable_name("constant"))
        if value.dtype.kind in "OU":
            kind, content = TensorProto.STRING, [str(text).encode() for text in value.reshape(-1)]
        else:
            kind, content = np_dtype_to_tensor_dtype(value.dtype), value.reshape(-1).tolist()
        self.container.add_initializer(name, kind, list(value.shape), content)
        return name

    def cast(self, value: str, dtype: str, result: str = "") -> str:
        """`value` as `dtype`, NumPy's name."""
        from onnx.helper import np_dtype_to_tensor_dtype

        return self("Cast", value, result=result, to=np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def slice(self, value: str, start: int, end: str | int, axis: int = 1, step: int = 1) -> str:
        """`value[start:end:step]` along an axis."""
        stop = end if isinstance(end, str) else int64s(end)
        return self("Slice", value, int64s(start), stop, int64s(axis), int64s(step))

    def nearest(self, value: str, count: int) -> tuple[str, str]:
        """The smallest values of each row, and their columns."""
        names = [str(self.scope.get_unique_variable_name("nearest")) for _ in range(2)]
        self.container.add_node(
            "TopK",
            [value, self.constant(int64s(count))],
            names,
            op_version=OPSET,
            name=self.scope.get_unique_operator_name("TopK"),
            axis=1,
            largest=0,
            sorted=1,
        )
        return names[0], names[1]

    def rows(self, value: str) -> str:
        """The number of rows, int64 [1]."""
        return self("Shape", value, start=0, end=1)

    def width(self, value: str) -> str:
        """The number of columns, int64 [1]."""
        return self("Shape", value, start=1, end=2)

    def shape(self, rows: Operand, columns: Operand) -> str:
        """A shape [rows, columns] of two int64 [1]."""
        return self("Concat", rows, columns, axis=0)


def int64s(*values: int) -> Array:
    """A constant of int64 [values]."""
    return np.array(values, np.int64)


END = 2**31 - 1
"""The end of an axis, for slices."""


def join_graph() -> GraphProto:
    """The body of a loop that joins neighbouring columns of strings until one is left."""
    from onnx import TensorProto, helper

    def constant(name: str, *values: int) -> Any:
        return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)

    def cut(value: str, start: str, end: str, step: str, result: str) -> Any:
        return helper.make_node("Slice", [value, start, end, "one", step], [result])

    nodes = [
        helper.make_node("Shape", ["parts"], ["width"], start=1, end=2),
        helper.make_node("Shape", ["parts"], ["rows"], start=0, end=1),
        helper.make_node("Concat", ["rows", "one"], ["column"], axis=0),
        helper.make_node("Expand", ["empty", "column"], ["blank"]),
        helper.make_node("Concat", ["parts", "blank"], ["padded"], axis=1),
        helper.make_node("Add", ["width", "one"], ["wider"]),
        helper.make_node("Div", ["wider", "two"], ["half"]),
        helper.make_node("Mul", ["half", "two"], ["even"]),
        cut("padded", "zero", "even", "two", "left"),
        cut("padded", "one", "even", "two", "right"),
        helper.make_node("StringConcat", ["left", "right"], ["joined"]),
        helper.make_node("Greater", ["half", "one"], ["more"]),
        helper.make_node("Squeeze", ["more"], ["again"]),
    ]
    blank: Any = [b""]
    empty = helper.make_tensor("empty", TensorProto.STRING, [1, 1], blank)
    return helper.make_graph(
        nodes,
        "join",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("parts", TensorProto.STRING, [None, None]),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("joined", TensorProto.STRING, [None, None]),
        ],
        [constant("zero", 0), constant("one", 1), constant("two", 2), empty],
    )
