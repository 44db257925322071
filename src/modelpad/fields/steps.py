"""Steps between a field and the tensor of a graph: scaling, layout, dtype, softmax.

A manifest lists them by name and parameters. The typed API applies them; tensor protocols, which
speak the graph's own tensors, do not. Arrays have the batch axis first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import msgspec

from modelpad.foreign_json import Json, as_object, list_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelpad.fields.arrays import Array

MAX_PARAMETERS = 64  # numbers in one parameter of a step
CAST_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)


class Step(Protocol):
    """One transformation of an array."""

    @property
    def op(self) -> str:
        """Its name in a manifest."""

    def apply(self, array: Array) -> Array:
        """The transformed array."""


class Affine(msgspec.Struct, frozen=True):
    """`x * multiply + offset` in float32: one number, or one for each channel of the last axis."""

    multiply: tuple[float, ...]
    offset: tuple[float, ...]

    op: ClassVar[str] = "affine"

    def apply(self, array: Array) -> Array:
        import numpy as np

        scaled = array.astype(np.float32) * np.asarray(self.multiply, np.float32)
        return scaled + np.asarray(self.offset, np.float32) if any(self.offset) else scaled


class ReverseChannels(msgspec.Struct, frozen=True):
    """RGB to BGR, on the last axis."""

    op: ClassVar[str] = "reverse_channels"

    def apply(self, array: Array) -> Array:
        return array[..., ::-1]


class Transpose(msgspec.Struct, frozen=True):
    """Reorders the axes, including the batch axis."""

    order: tuple[int, ...]

    op: ClassVar[str] = "transpose"

    def apply(self, array: Array) -> Array:
        return array.transpose(self.order)


class Reshape(msgspec.Struct, frozen=True):
    """Reshapes each item; one side may be -1."""

    item_shape: tuple[int, ...]

    op: ClassVar[str] = "reshape"

    def apply(self, array: Array) -> Array:
        return array.reshape(len(array), *self.item_shape)


class Cast(msgspec.Struct, frozen=True):
    """Converts to another dtype. Fractions are rounded and clipped to an integer dtype's range."""

    dtype: str

    op: ClassVar[str] = "cast"

    def __post_init__(self) -> None:
        if self.dtype not in CAST_DTYPES:
            raise ValueError(f"cannot cast to {self.dtype!r:.40}")

    def apply(self, array: Array) -> Array:
        import numpy as np

        wanted = np.dtype(self.dtype)
        if wanted.kind in "iu" and array.dtype.kind == "f":
            limits = np.iinfo(wanted)
            numbers = cast("NDArray[np.floating[Any]]", array)
            array = np.clip(np.rint(numbers), limits.min, limits.max)
        return array.astype(wanted)


class Softmax(msgspec.Struct, frozen=True):
    """Softmax over the last axis, computed in float64."""

    op: ClassVar[str] = "softmax"

    def apply(self, array: Array) -> Array:
        import numpy as np

        logits = array.astype(np.float64)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
        return probabilities.astype(np.float32)


class Sigmoid(msgspec.Struct, frozen=True):
    """The logistic function, computed in float64."""

    op: ClassVar[str] = "sigmoid"

    def apply(self, array: Array) -> Array:
        import numpy as np

        with np.errstate(over="ignore"):
            return (1 / (1 + np.exp(-array.astype(np.float64)))).astype(np.float32)


class Complement(msgspec.Struct, frozen=True):
    """The probability p (batch, 1) of the second of two classes to `[1 - p, p]` (batch, 2)."""

    op: ClassVar[str] = "complement"

    def apply(self, array: Array) -> Array:
        import numpy as np

        second = array.astype(np.float32)
        return np.concatenate([1 - second, second], axis=1)


def apply_steps(steps: Iterable[Step], array: Array) -> Array:
    """Applies all steps in order."""
    import numpy as np

    for step in steps:
        array = step.apply(array)
    return np.ascontiguousarray(array) if array.ndim else array


def step_to_dict(step: Step) -> dict[str, Json]:
    """A step's entry in a manifest."""
    record: dict[str, Json] = {"op": step.op}
    for name in cast("Any", step).__struct_fields__:
        value = getattr(step, name)
        record[name] = [*value] if isinstance(value, tuple) else value
    return record


def step_from_dict(record: Mapping[str, Json]) -> Step:
    """The inverse of `step_to_dict`. Raises `ValueError`, `KeyError` or `TypeError`."""
    op = text_at(record, "op")
    if op not in STEPS:
        raise ValueError(f"unknown step {op!r:.40}")
    return STEPS[op](record)


def read_steps(value: Json) -> tuple[Step, ...]:
    """A manifest's list of steps. Raises like `step_from_dict`."""
    items = list_at({"steps": value}, "steps")
    return tuple(step_from_dict(as_object(item, "a step")) for item in items)


def _integers(record: Mapping[str, Json], key: str) -> tuple[int, ...]:
    numbers = list_at(record, key)
    if len(numbers) > MAX_PARAMETERS or not all(type(number) is int for number in numbers):
        raise TypeError(f"{key} is not a short list of integers")
    return tuple(cast("list[int]", numbers))


def _floats(record: Mapping[str, Json], key: str) -> tuple[float, ...]:
    numbers = list_at(record, key)
    if len(numbers) > MAX_PARAMETERS or not all(type(n) in (int, float) for n in numbers):
        raise TypeError(f"{key} is not a short list of numbers")
    return tuple(float(number) for number in cast("list[float]", numbers))


STEPS: Mapping[str, Callable[[Mapping[str, Json]], Step]] = {
    Affine.op: lambda record: Affine(_floats(record, "multiply"), _floats(record, "offset")),
    ReverseChannels.op: lambda record: ReverseChannels(),
    Transpose.op: lambda record: Transpose(_integers(record, "order")),
    Reshape.op: lambda record: Reshape(_integers(record, "item_shape")),
    Cast.op: lambda record: Cast(text_at(record, "dtype")),
    Softmax.op: lambda record: Softmax(),
    Sigmoid.op: lambda record: Sigmoid(),
    Complement.op: lambda record: Complement(),
}
