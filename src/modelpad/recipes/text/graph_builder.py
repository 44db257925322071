"""Builds ONNX graphs node by node, with weights in float32 or in 8 bits.

It knows nothing of networks. Weights keep the names that they have in PyTorch, so that they can be
read back (`read_weights`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from modelpad.convert.graph import load_onnx

if TYPE_CHECKING:
    from onnx import ModelProto

Precision = Literal["float32", "int8"]
Floats = NDArray[np.float32]
Array = NDArray[Any]

OPSET, MICROSOFT = 20, "com.microsoft"
IR_VERSION = 10
LARGEST = 63  # code of a weight: a sum of two products with 8-bit values fits 16 bits, in which
# processors without VNNI add them
ZERO = 128  # stands for 0 in values of 8 bits
CODES, SCALES = ".codes", ".scales"  # what is appended to the names of weights in 8 bits
LEVELS, TINY = 127, 1e-30  # sizes of weights whose sizes differ by far; the least of the largest
SMALL = 1 << 12  # weights; smaller matrices stay float32


class GraphBuilder:
    """A graph in the making. Calls add nodes and return the names of what they compute."""

    def __init__(self, precision: Precision = "float32") -> None:
        self.precision = precision
        self._onnx = load_onnx()
        self._nodes: list[Any] = []
        self._constants: dict[str, Array] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, dtype: str, *sides: int | str) -> str:
        """Declares an input."""
        self._inputs.append(self._describe(name, dtype, sides))
        return name

    def output(self, value: str, name: str, dtype: str, *sides: int | str) -> None:
        """Declares an output and gives it a value."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [value], [name]))
        self._outputs.append(self._describe(name, dtype, sides))

    def __call__(self, operator: str, *inputs: str | Array, **attributes: Any) -> str:
        """Adds a node with one output."""
        return self.several(operator, 1, *inputs, **attributes)[0]

    def several(
        self, operator: str, count: int, *inputs: str | Array, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Adds a node with several outputs."""
        number = len(self._nodes)
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        outputs = [f"{operator}_{number}_{index}" for index in range(count)]
        node = self._onnx.helper.make_node(operator, names, outputs, domain=domain, **attributes)
        self._nodes.append(node)
        return outputs

    def constant(self, value: Array, name: str = "") -> str:
        """Adds a constant; equal unnamed ones are added once."""
        digest = sha256(value.tobytes()).hexdigest()[:16]
        name = name or f"{value.dtype}_{list(value.shape)}_{digest}"
        self._constants.setdefault(name, value)
        return name

    def linear(self, value: str, name: str, weight: Floats, bias: Floats | None = None) -> str:
        """value @ weight.T + bias, with `weight` (out, in) stored in the builder's precision."""
        if self._is_small(weight):
            product = self("MatMul", value, self._turned(name, weight))
        else:
            product = self._multiply(value, *self._transposed(name, weight))
        if bias is None:
            return product
        return self("Add", product, self._bias(name, bias))

    def _multiply(self, value: str, codes: str, scales: str) -> str:
        """value (..., K) @ codes (K, N) * scales (N,), with values rounded to 8 bits.

        Each row is divided by its largest value and multiplied with it again: no row affects
        another. Of a row of zeros, whatever 0 * inf is rounded to is multiplied with 0.
        """
        largest = self("ReduceMax", self("Abs", value), np.array([-1], np.int64), keepdims=1)
        step = self.constant(np.array(1 / 127, np.float32))
        zero = self.constant(np.array(ZERO, np.uint8))
        scaled = self("Mul", value, self("Reciprocal", largest))
        rounded = self("QuantizeLinear", scaled, step, zero)
        return self("Mul", self._multiply_codes(rounded, codes, step, scales, zero), largest)

    def _multiply_codes(self, *inputs: str) -> str:
        """Rounded values @ codes, with the steps of both."""
        return self.several("MatMulIntegerToFloat", 1, *inputs, domain=MICROSOFT)[0]

    def linear_parts(
        self, values: Sequence[str], name: str, weight: Floats, bias: Floats, largest: float
    ) -> list[str]:
        """The product of each value with its equal part (out / count, in) of a weight.

        In 8 bits, values are up to `largest`, and larger ones are cut off. All are rounded to the
        same steps, so that the products add the bias themselves.
        """
        count = len(values)

        def divide(stored: str) -> list[str]:
            """When the graph is loaded."""
            return self.several("Split", count, stored, axis=-1, num_outputs=count)

        more = divide(self._bias(name, bias))
        if self._is_small(weight):
            parts = divide(self._turned(name, weight))
            products = [self("MatMul", *each) for each in zip(values, parts, strict=True)]
            return [self("Add", *each) for each in zip(products, more, strict=True)]
        step = self.constant(np.array(largest / 127, np.float32))
        zero = self.constant(np.array(ZERO, np.uint8))
        rounded = {each: self("QuantizeLinear", each, step, zero) for each in dict.fromkeys(values)}
        codes, scales = (divide(stored) for stored in self._transposed(name, weight))
        return [
            self._multiply_codes(rounded[value], part, step, scale, zero, "", added)
            for value, part, scale, added in zip(values, codes, scales, more, strict=True)
        ]

    def tied(self, value: str, name: str, weight: Floats) -> str:
        """value (R, E) @ weight.T, with a `weight` (V, E) that `embed` uses too."""
        if self._is_small(weight):
            return self("Gemm", value, self.constant(weight, name), transB=1)
        codes, scales = self._quantized(name, weight)
        flat = self("Reshape", scales, np.array([-1], np.int64))
        return self._multiply(value, self("Transpose", codes, perm=[1, 0]), flat)

    def embed(self, tokens: str, name: str, weight: Floats) -> str:
        """Rows of `weight` (V, E), float32 (..., E), for tokens (T, B)."""
        if self._is_small(weight):
            return self("Gather", self.constant(weight, name), tokens, axis=0)
        codes, scales = self._quantized(name, weight)
        chosen = self("Cast", self("Gather", codes, tokens, axis=0), to=1)
        return self("Mul", chosen, self("Gather", scales, tokens, axis=0))

    def embed_linear(
        self, tokens: str, table: str, rows: Floats, factor: float, name: str, weight: Floats
    ) -> str:
        """factor * rows[tokens] @ weight.T. Rows in 8 bits are multiplied as they are stored."""
        times = np.full(1, factor, np.float32)
        if self._is_small(rows) or self._is_small(weight):
            return self.linear(self("Mul", self.embed(tokens, table, rows), times), name, weight)
        codes, scales = self._quantized(table, rows)
        step = self.constant(np.array(1, np.float32))
        zero = self.constant(np.array(ZERO, np.uint8))
        chosen = self("Cast", self("Gather", codes, tokens, axis=0), to=1)
        shifted = self("QuantizeLinear", chosen, step, zero)  # adds 128
        turned, more = self._transposed(name, weight)
        product = self._multiply_codes(shifted, turned, step, more, zero)
        return self("Mul", product, self("Mul", self("Gather", scales, tokens, axis=0), times))

    def look_up(self, places: str, name: str, weight: Floats) -> str:
        """Rows of `weight` (V, K), float32 (..., K), whose sizes may differ by far."""
        if self._is_small(weight):
            return self("Gather", self.constant(weight, name), places, axis=0)
        levels, codes = quantize_levels(weight)
        chosen = self("Gather", self.constant(codes, f"{name}.places"), places, axis=0)
        return self("Gather", self.constant(levels, f"{name}.levels"), self("Cast", chosen, to=6))

    def stored(self, name: str, weight: Floats) -> str:
        """A weight for other operators, such as LSTM: computed once, when the graph is loaded."""
        if self._is_small(weight):
            return self.constant(weight, name)
        codes, scales = self._quantized(name, weight)
        return self("Mul", self("Cast", codes, to=1), scales)

    def recur(self, decay: str, new: str, initial: str) -> str:
        """States (T, B, D): each is decay * before + (1 - decay) * new."""
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        free = ["batch", "width"]
        body = helper.make_graph(
            [
                helper.make_node("Sub", ["before", "new"], ["apart"]),
                helper.make_node("Mul", ["decay", "apart"], ["kept"]),
                helper.make_node("Add", ["kept", "new"], ["after"]),
                helper.make_node("Identity", ["after"], ["shown"]),
            ],
            "step",
            [
                helper.make_tensor_value_info(name, kind, free)
                for name in ("before", "decay", "new")
            ],
            [helper.make_tensor_value_info(name, kind, free) for name in ("after", "shown")],
        )
        return self.several("Scan", 2, initial, decay, new, body=body, num_scan_inputs=2)[1]

    def build(self) -> ModelProto:
        """The graph."""
        helper, numpy_helper = self._onnx.helper, self._onnx.numpy_helper
        constants = [numpy_helper.from_array(each, name) for name, each in self._constants.items()]
        graph = helper.make_graph(self._nodes, "model", self._inputs, self._outputs, constants)
        domains = {"": OPSET} | ({MICROSOFT: 1} if self._uses_microsoft() else {})
        opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        model: ModelProto = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="modelpad"
        )
        return model

    def _uses_microsoft(self) -> bool:
        return any(node.domain == MICROSOFT for node in self._nodes)

    def _is_small(self, weight: Floats) -> bool:
        return self.precision == "float32" or weight.size < SMALL

    def _bias(self, name: str, bias: Floats) -> str:
        """The bias beside the weight of that name."""
        return self.constant(bias, f"{name.removesuffix('weight')}bias")

    def _turned(self, name: str, weight: Floats) -> str:
        """A weight (K, N), in float32."""
        return self.constant(np.ascontiguousarray(weight.T), f"{name}.T")

    def _transposed(self, name: str, weight: Floats) -> tuple[str, str]:
        """Codes (K, N) and scales (N,) of a weight (N, K)."""
        codes, scales = quantize_rows(weight)
        turned = self.constant(np.ascontiguousarray(codes.T), f"{name}.T{CODES}")
        return turned, self.constant(scales[:, 0], f"{name}.T{SCALES}")

    def _quantized(self, name: str, weight: Floats) -> tuple[str, str]:
        codes, scales = quantize_rows(weight)
        return self.constant(codes, name + CODES), self.constant(scales, name + SCALES)

    def _describe(self, name: str, dtype: str, sides: Sequence[int | str]) -> Any:
        helper = self._onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, list(sides))


def quantize_rows(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """A matrix (N, K) in 8 bits: codes int8 (N, K), and a scale for each row, float32 (N, 1)."""
    scales = np.abs(weight).max(axis=-1, keepdims=True) / LARGEST
    scales = np.where(scales == 0, np.float32(1), scales).astype(np.float32)
    return np.rint(weight / scales).astype(np.int8), scales


def quantize_levels(weight: Floats) -> tuple[Floats, NDArray[np.uint8]]:
    """A matrix in 8 bits: `levels` float32 (255,) and, for each weight, which one it has.

    Levels are 0, and from a thousandth of the largest weight up to it in equal ratios: a weight is
    off by at most 3 %.
    """
    sizes = np.geomspace(1e-3, 1, LEVELS) * max(float(np.abs(weight).max()), TINY)
    levels = np.concatenate([-sizes[::-1], [0.0], sizes])
    middles = (levels[1:] + levels[:-1]) / 2
    codes = np.searchsorted(middles, weight).astype(np.uint8)
    return levels.astype(np.float32), codes


def read_weights(constants: Mapping[str, Array]) -> dict[str, Floats]:
    """The weights of a graph by the names that the network has for them, as float32.

    `constants` are the graph's initializers. Weights that `linear` transposed are turned back.
    """
    found: dict[str, Floats] = {}
    for name, value in constants.items():
        if name.endswith(CODES):
            base = name.removesuffix(CODES)
            _add_weight(found, base, _widen(value, constants[base + SCALES]))
        elif not name.endswith(SCALES) and value.dtype == np.float32:
            _add_weight(found, name, value)
    return found


def _add_weight(found: dict[str, Floats], name: str, value: Floats) -> None:
    is_turned = name.endswith(".T")
    found[name.removesuffix(".T")] = np.ascontiguousarray(value.T) if is_turned else value


def _widen(codes: Array, scales: Floats) -> Floats:
    """A matrix in 8 bits as float32. Codes of uint8 (N, K / block, block) have a scale a block."""
    if codes.dtype == np.int8:
        return codes.astype(np.float32) * scales
    wide = (codes.astype(np.float32) - ZERO) * scales.reshape(*codes.shape[:2], 1)
    return wide.reshape(len(wide), -1)
