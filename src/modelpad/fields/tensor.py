"""A tensor: numbers of one dtype and shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields.field import check_sizes, invalid_value
from modelpad.foreign_json import Json, list_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_ELEMENTS = 25_000_000
MAX_DIMENSIONS = 31  # of one item: NumPy 1 allows 32, and the batch axis is one of them
DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "string",
)


class Tensor(msgspec.Struct, frozen=True):
    """Numbers of one dtype. `shape` is that of one item; a free side is None."""

    name: str
    dtype: str = "float32"
    shape: tuple[int | None, ...] = ()

    kind: ClassVar[str] = "tensor"
    widget: ClassVar[str] = "tensor-editor"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        check_sizes("a side of shape", *self.shape, minimum=0, maximum=MAX_ELEMENTS)
        if len(self.shape) > MAX_DIMENSIONS:
            raise ValueError(
                f"shape has {len(self.shape)} dimensions; at most {MAX_DIMENSIONS} are allowed"
            )

    def decode(self, value: object) -> NDArray[np.generic]:
        """Nested lists, or an array, as an array of `dtype` and `shape`; strings as objects.

        Raises:
            InvalidInput: not numbers, the wrong shape, NaN or infinite, or out of range.
            TooLarge: there are too many numbers.
        """
        import numpy as np

        if self.dtype == "string":
            return self._decode_strings(value)
        try:
            loose = np.asarray(value)
        except ValueError as error:
            raise self._invalid("has rows of different lengths", "ragged lists") from error
        if loose.dtype.kind not in "biuf":
            raise self._invalid("does not consist of numbers", _type_name(value))
        if loose.size > MAX_ELEMENTS:
            raise TooLarge(
                f"The field {self.name!r} has {loose.size:,} numbers;"
                f" at most {MAX_ELEMENTS:,} are allowed.",
                limit=MAX_ELEMENTS,
                got=loose.size,
            )
        if not self._fits(loose.shape):
            raise self._invalid("has the wrong shape", f"shape {list(loose.shape)}")
        if loose.dtype.kind == "f" and not np.isfinite(loose).all():
            raise self._invalid("contains NaN or infinity", "NaN or infinity")
        return self._cast(loose)

    def encode(self, array: NDArray[np.generic]) -> object:
        return _as_text(array.tolist()) if self.dtype == "string" else array.tolist()

    def schema(self) -> dict[str, Json]:
        """Nested arrays, one level for each dimension."""
        number = "number" if self.dtype.startswith("float") else "integer"
        number = {"bool": "boolean", "string": "string"}.get(self.dtype, number)
        inner: dict[str, Json] = {"type": number}
        for side in reversed(self.shape):
            inner = {"type": "array", "items": inner}
            if side is not None:
                inner |= {"minItems": side, "maxItems": side}
        return inner

    def preparation(self) -> None:
        return None

    def to_dict(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "dtype": self.dtype,
            "shape": [*self.shape],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Tensor:
        shape = []
        for side in list_at(record, "shape"):
            if side is not None and not isinstance(side, int):
                raise TypeError("shape is not a list of integers")
            shape.append(side)
        return cls(text_at(record, "name"), text_at(record, "dtype"), tuple(shape))

    def _decode_strings(self, value: object) -> NDArray[np.object_]:
        import numpy as np

        texts: NDArray[np.object_] = np.array(value, dtype=object)
        if not all(isinstance(text, str) for text in texts.reshape(-1)):
            raise self._invalid("does not consist of text in rows of one length", _type_name(value))
        if texts.size > MAX_ELEMENTS or not self._fits(texts.shape):
            raise self._invalid("has the wrong shape", f"shape {list(texts.shape)}")
        return texts

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(
            expected in (None, got) for expected, got in zip(self.shape, shape, strict=True)
        )

    def _cast(self, loose: NDArray[np.number]) -> NDArray[np.generic]:
        import numpy as np

        wanted = np.dtype(self.dtype)
        if wanted.kind in "iu" and loose.size:
            whole = loose if loose.dtype.kind in "biu" else np.rint(loose)
            limits = np.iinfo(wanted)
            if not (whole == loose).all():
                raise self._invalid("must contain whole numbers", "fractions")
            # Compare Python integers: NumPy would round 64-bit limits to floats.
            if int(whole.min()) < limits.min or int(whole.max()) > limits.max:
                raise self._invalid(
                    f"does not fit into {self.dtype}", f"{loose.min()}..{loose.max()}"
                )
        with np.errstate(over="ignore"):
            cast = loose.astype(wanted)
        if wanted.kind == "f" and not np.isfinite(cast).all():
            raise self._invalid(f"does not fit into {self.dtype}", "numbers too large")
        return cast

    def _invalid(self, problem: str, got: str) -> InvalidInput:
        sides = ", ".join("any" if side is None else str(side) for side in self.shape)
        return invalid_value(
            self.name,
            problem,
            hint=f"Send {self.dtype} values of shape [{sides}] as nested lists.",
            expected=f"{self.dtype} of shape [{sides}]",
            got=got,
        )


def _as_text(value: object) -> object:
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _type_name(value: object) -> str:
    names = {str: "text", dict: "an object", type(None): "null", bytes: "bytes"}
    return names.get(type(value), f"a {type(value).__name__} of something else")
