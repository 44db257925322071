"""Finds what a graph does to the pixels of an image input before its first layer.

It follows the input through operators that only move values (layout, resizing, casts) and sums up
those that scale them, until the first that mixes them, such as a convolution. It never guesses:
where nothing scales the input, nothing in the graph says which range it expects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.constants import Constants

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    from modelpad.fields.arrays import Array

MOVES = {
    *("Cast", "Clip", "Concat", "Dropout", "Expand", "Flatten", "Gather", "GatherND", "Identity"),
    *("Pad", "Reshape", "Resize", "ReverseSequence", "Slice", "Split", "Squeeze", "Transpose"),
    *("Unsqueeze", "Upsample", "CastLike", "Tile"),
}
IGNORED = {"Shape", "Size", "ConstantOfShape"}
NORMALISES = {"InstanceNormalization", "LayerNormalization", "MeanVarianceNormalization"}
# The spans of the first layer's inputs that networks are trained with, by the input's own range.
LEAST_SPAN, LARGEST_SPAN = 0.5, 20.0
MEAN_PIXELS = (90.0, 160.0)  # subtracted from pixels 0..255 without scaling them
MAX_STEPS = 200


@dataclass(frozen=True, slots=True)
class Affine:
    """`x * factor + offset`, averaged over channels."""

    factor: float = 1.0
    offset: float = 0.0

    @property
    def is_identity(self) -> bool:
        """Whether nothing scales the input."""
        return self.factor == 1.0 and self.offset == 0.0


def find_scale(model: ModelProto, name: str) -> str | None:
    """The `scale` of pixels 0..255 that the input `name` expects: `none` or `0..1`.

    None if the graph does not say so.
    """
    walk = _Walk(model.graph)
    walk.follow(name, Affine())
    if walk.normalises:
        return "none"
    scales = {_expected_range(affine) for affine in walk.ends if not affine.is_identity}
    return scales.pop() if len(scales) == 1 else None


def _expected_range(affine: Affine) -> str | None:
    span = abs(affine.factor)
    if LEAST_SPAN <= 255 * span <= LARGEST_SPAN:
        return "none"
    if span == 1.0 and MEAN_PIXELS[0] <= -affine.offset <= MEAN_PIXELS[1]:
        return "none"
    if span >= LEAST_SPAN and abs(affine.offset) <= LARGEST_SPAN:
        return "0..1"
    return None


class _Walk:
    """What the first layers see of an input: `ends` has the scaling before each of them."""

    def __init__(self, graph: GraphProto) -> None:
        self.constants = Constants(graph)
        self.ends: list[Affine] = []
        self.normalises = False
        self._consumers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)
        self._seen: set[tuple[str, Affine]] = set()

    def follow(self, value: str, affine: Affine) -> None:
        """Follows a value to the first layers."""
        pending = [(value, affine)]
        while pending and len(self._seen) < MAX_STEPS:
            value, affine = pending.pop()
            if (value, affine) in self._seen:
                continue
            self._seen.add((value, affine))
            for node in self._consumers.get(value, []):
                moved = self._step(node, value, affine)
                if moved is not None:
                    pending += [(output, moved) for output in node.output if output]

    def _step(self, node: NodeProto, value: str, affine: Affine) -> Affine | None:
        """The scaling after a node; None if it ends there."""
        if node.op_type in IGNORED or (node.op_type in MOVES and node.input[0] != value):
            if node.op_type == "Concat":
                return affine
            return None
        if node.op_type in MOVES:
            return affine
        if node.op_type in NORMALISES or node.op_type.startswith("Reduce"):
            self.normalises = True  # it divides by what it measures in the image itself
            return None
        scaled = self._scale(node, value, affine)
        if scaled is None:
            self.ends.append(affine)
        return scaled

    def _scale(self, node: NodeProto, value: str, affine: Affine) -> Affine | None:
        if node.op_type == "BatchNormalization" and node.input[0] == value:
            return self._normalise(node, affine)
        if node.op_type not in ("Mul", "Div", "Add", "Sub"):
            return None
        other = node.input[1] if node.input[0] == value else node.input[0]
        constant = self.constants.find(other)
        if constant is None or constant.dtype.kind not in "iuf" or not constant.size:
            return None
        number = _average(constant)
        first = node.input[0] == value
        if node.op_type == "Mul":
            return Affine(affine.factor * number, affine.offset * number)
        if node.op_type == "Add":
            return Affine(affine.factor, affine.offset + number)
        if node.op_type == "Sub" and first:
            return Affine(affine.factor, affine.offset - number)
        if node.op_type == "Sub":
            return Affine(-affine.factor, number - affine.offset)
        if first and number:
            return Affine(affine.factor / number, affine.offset / number)
        return None

    def _normalise(self, node: NodeProto, affine: Affine) -> Affine | None:
        found = [self.constants.find(name) for name in node.input[1:5]]
        parts = [_average(array) for array in found if array is not None]
        if len(parts) != 4:
            return None
        scale, bias, mean, variance = parts
        factor = scale / float(np.sqrt(max(variance, 1e-12)))
        return Affine(affine.factor * factor, (affine.offset - mean) * factor + bias)


def _average(array: Array) -> float:
    return float(np.mean(array.astype(np.float64)))


def find_scales(model: ModelProto, names: Mapping[str, str]) -> dict[str, str | None]:
    """`find_scale` of each input by name; integer inputs (by dtype in `names`) are never scaled."""
    return {
        name: find_scale(model, name) if dtype.startswith("float") else "none"
        for name, dtype in names.items()
    }
