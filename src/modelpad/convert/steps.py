"""Preparation and finishing as small steps, each done twice: by NumPy here, by ONNX in the graph.

The two are written apart on purpose: parity runs the source model behind NumPy's steps and the
bundle with its own, so that a wrong step is seen. Arrays start with the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
AddNode = Callable[..., str]
"""`add(op, inputs, constants, **attributes)` adds a node and answers its output's name."""


class Step(Protocol):
    """One change of an array."""

    def apply(self, array: Array) -> Array:
        """The changed array."""

    def add(self, add: AddNode, value: str) -> str:
        """Adds the same to a graph after `value`; answers the new value's name."""


@dataclass(frozen=True, slots=True)
class Affine:
    """`x * multiply + offset` along the last axis; one number, or one for each channel."""

    multiply: tuple[float, ...]
    offset: tuple[float, ...]

    def apply(self, array: Array) -> Array:
        """In float32."""
        scaled = array.astype(np.float32) * np.asarray(self.multiply, np.float32)
        return scaled + np.asarray(self.offset, np.float32)

    def add(self, add: AddNode, value: str) -> str:
        """Mul and Add."""
        scaled = add("Mul", [value], [np.asarray(self.multiply, np.float32)])
        if not any(self.offset):
            return scaled
        return add("Add", [scaled], [np.asarray(self.offset, np.float32)])


@dataclass(frozen=True, slots=True)
class ReverseChannels:
    """RGB to BGR, on the last axis."""

    def apply(self, array: Array) -> Array:
        """Reversed."""
        return array[..., ::-1]

    def add(self, add: AddNode, value: str) -> str:
        """Gather."""
        return add("Gather", [value], [np.array([2, 1, 0], np.int64)], axis=-1)


@dataclass(frozen=True, slots=True)
class Transpose:
    """Axes in another order, the batch among them."""

    order: tuple[int, ...]

    def apply(self, array: Array) -> Array:
        """Transposed."""
        return array.transpose(self.order)

    def add(self, add: AddNode, value: str) -> str:
        """Transpose."""
        return add("Transpose", [value], perm=list(self.order))


@dataclass(frozen=True, slots=True)
class Reshape:
    """Each item in another shape; -1 where it follows from the rest."""

    item_shape: tuple[int, ...]

    def apply(self, array: Array) -> Array:
        """Reshaped."""
        return array.reshape(len(array), *self.item_shape)

    def add(self, add: AddNode, value: str) -> str:
        """Reshape; 0 copies the batch."""
        return add("Reshape", [value], [np.array([0, *self.item_shape], np.int64)])


@dataclass(frozen=True, slots=True)
class Cast:
    """Another dtype; fractions are rounded where it has none."""

    dtype: str

    def apply(self, array: Array) -> Array:
        """Cast."""
        whole = np.dtype(self.dtype).kind in "iu" and array.dtype.kind == "f"
        return (np.rint(array) if whole else array).astype(self.dtype)

    def add(self, add: AddNode, value: str) -> str:
        """Round where needed, then Cast."""
        import onnx

        if np.dtype(self.dtype).kind in "iu":
            value = add("Round", [value])
        return add("Cast", [value], to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype)))


@dataclass(frozen=True, slots=True)
class Softmax:
    """Scores of any size to shares that add up to 1, on the last axis."""

    def apply(self, array: Array) -> Array:
        """In float64, so that the reference is better than what is compared."""
        powers = np.exp(array.astype(np.float64) - array.max(axis=-1, keepdims=True))
        shares: Array = powers / powers.sum(axis=-1, keepdims=True)
        return shares.astype(np.float32)

    def add(self, add: AddNode, value: str) -> str:
        """Softmax."""
        return add("Softmax", [value], axis=-1)


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """A score of any size to a share from 0 to 1."""

    def apply(self, array: Array) -> Array:
        """In float64, so that the reference is better than what is compared."""
        return (1 / (1 + np.exp(-array.astype(np.float64)))).astype(np.float32)

    def add(self, add: AddNode, value: str) -> str:
        """Sigmoid."""
        return add("Sigmoid", [value])


@dataclass(frozen=True, slots=True)
class Complement:
    """The share (batch, 1) of the second of two classes as shares of both, (batch, 2)."""

    def apply(self, array: Array) -> Array:
        """`[1 - p, p]`."""
        return np.concatenate([1 - array, array], axis=1).astype(np.float32)

    def add(self, add: AddNode, value: str) -> str:
        """Neg, Add and Concat."""
        other = add("Add", [add("Neg", [value])], [np.array([1], np.float32)])
        return add("Concat", [other, value], axis=1)


def apply_steps(steps: Sequence[Step], array: Array) -> Array:
    """All steps one after the other, by NumPy."""
    for step in steps:
        array = step.apply(array)
    return np.ascontiguousarray(array)
