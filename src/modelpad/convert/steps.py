"""Pre- and postprocessing steps, each implemented twice: in NumPy, and as nodes of the graph.

The duplication is deliberate. The parity check runs the source model with the NumPy steps and the
bundle with its own nodes, so that a mistake in either is found. Arrays start with the batch axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from modelpad.fields.arrays import Array


class AddNode(Protocol):
    """Adds a node to a graph."""

    def __call__(
        self,
        op: str,
        inputs: Sequence[str],
        constants: Sequence[Array] = (),
        **attributes: int | Sequence[int],
    ) -> str:
        """Adds the node and returns the name of its output."""


class Step(Protocol):
    """One transformation of an array."""

    def apply(self, array: Array) -> Array:
        """The transformation in NumPy."""

    def add(self, add: AddNode, value: str) -> str:
        """Adds the transformation of `value` to a graph; returns the name of the new value."""


@dataclass(frozen=True, slots=True)
class Affine:
    """`x * multiply + offset` in float32: one number, or one for each channel of the last axis."""

    multiply: tuple[float, ...]
    offset: tuple[float, ...]

    def apply(self, array: Array) -> Array:
        scaled = array.astype(np.float32) * np.asarray(self.multiply, np.float32)
        return scaled + np.asarray(self.offset, np.float32)

    def add(self, add: AddNode, value: str) -> str:
        scaled = add("Mul", [value], [np.asarray(self.multiply, np.float32)])
        if not any(self.offset):
            return scaled
        return add("Add", [scaled], [np.asarray(self.offset, np.float32)])


@dataclass(frozen=True, slots=True)
class ReverseChannels:
    """RGB to BGR, on the last axis."""

    def apply(self, array: Array) -> Array:
        return array[..., ::-1]

    def add(self, add: AddNode, value: str) -> str:
        return add("Gather", [value], [np.array([2, 1, 0], np.int64)], axis=-1)


@dataclass(frozen=True, slots=True)
class Transpose:
    """Reorders the axes, including the batch axis."""

    order: tuple[int, ...]

    def apply(self, array: Array) -> Array:
        return array.transpose(self.order)

    def add(self, add: AddNode, value: str) -> str:
        return add("Transpose", [value], perm=list(self.order))


@dataclass(frozen=True, slots=True)
class Reshape:
    """Reshapes each item; one side may be -1."""

    item_shape: tuple[int, ...]

    def apply(self, array: Array) -> Array:
        return array.reshape(len(array), *self.item_shape)

    def add(self, add: AddNode, value: str) -> str:
        # A side of 0 copies the batch.
        return add("Reshape", [value], [np.array([0, *self.item_shape], np.int64)])


@dataclass(frozen=True, slots=True)
class Cast:
    """Converts to another dtype, rounding fractions for integers."""

    dtype: str

    def apply(self, array: Array) -> Array:
        whole = np.dtype(self.dtype).kind in "iu" and array.dtype.kind == "f"
        return (np.rint(array) if whole else array).astype(self.dtype)

    def add(self, add: AddNode, value: str) -> str:
        import onnx

        if np.dtype(self.dtype).kind in "iu":
            value = add("Round", [value])
        return add("Cast", [value], to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype)))


@dataclass(frozen=True, slots=True)
class Softmax:
    """Softmax over the last axis. The NumPy version computes in float64, as a reference."""

    def apply(self, array: Array) -> Array:
        logits = array.astype(np.float64)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
        return probabilities.astype(np.float32)

    def add(self, add: AddNode, value: str) -> str:
        return add("Softmax", [value], axis=-1)


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """The logistic function. The NumPy version computes in float64, as a reference."""

    def apply(self, array: Array) -> Array:
        return (1 / (1 + np.exp(-array.astype(np.float64)))).astype(np.float32)

    def add(self, add: AddNode, value: str) -> str:
        return add("Sigmoid", [value])


@dataclass(frozen=True, slots=True)
class Complement:
    """The probability p (batch, 1) of the second of two classes to `[1 - p, p]` (batch, 2)."""

    def apply(self, array: Array) -> Array:
        second = array.astype(np.float32)
        return np.concatenate([1 - second, second], axis=1)

    def add(self, add: AddNode, value: str) -> str:
        other = add("Add", [add("Neg", [value])], [np.array([1], np.float32)])
        return add("Concat", [other, value], axis=1)


def apply_steps(steps: Sequence[Step], array: Array) -> Array:
    """Applies all steps in order, in NumPy."""
    for step in steps:
        array = step.apply(array)
    return np.ascontiguousarray(array)
