"""A tensor: numbers of a fixed type and shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields.field import check_sizes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_ELEMENTS = 25_000_000
MAX_SIDES = 31  # of one item: NumPy 1 has 32, and the batch takes one
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
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """Numbers of one dtype; `shape` is that of one item, None where a side is free."""

    name: str
    dtype: str = "float32"
    shape: tuple[int | None, ...] = ()

    kind: ClassVar[str] = "tensor"
    widget: ClassVar[str] = "tensor-editor"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        check_sizes("shape", *self.shape, least=0, most=MAX_ELEMENTS)
        if len(self.shape) > MAX_SIDES:
            raise ValueError(f"shape has {len(self.shape)} sides; at most {MAX_SIDES} are allowed")

    def decode(self, value: object) -> NDArray[np.generic]:
        """Numbers in nested lists (or an array) as an array of `dtype` and `shape`.

        Raises:
            InvalidInput: not numbers, of another shape, NaN or infinite, or out of range.
            TooLarge: it has too many numbers.
        """
        import numpy as np

        try:
            loose = np.asarray(value)
        except ValueError as error:
            raise self._invalid("has rows of different lengths", "ragged lists") from error
        if loose.dtype.kind not in "biuf":
            raise self._invalid("is not made of numbers", _name_type(value))
        if loose.size > MAX_ELEMENTS:
            raise TooLarge(
                f"The field {self.name!r} has {loose.size:,} numbers;"
                f" at most {MAX_ELEMENTS:,} are taken.",
                limit=MAX_ELEMENTS,
                got=loose.size,
            )
        if not self._fits(loose.shape):
            raise self._invalid("has the wrong shape", f"shape {list(loose.shape)}")
        if loose.dtype.kind == "f" and not np.isfinite(loose).all():
            raise self._invalid("holds NaN or infinity", "NaN or infinity")
        return self._cast(loose)

    def encode(self, array: NDArray[np.generic]) -> Any:
        """Nested lists of numbers."""
        return array.tolist()

    def schema(self) -> dict[str, Any]:
        """Arrays within arrays, as deep as the shape."""
        number = "number" if self.dtype.startswith("float") else "integer"
        inner: dict[str, Any] = {"type": "boolean" if self.dtype == "bool" else number}
        for side in reversed(self.shape):
            inner = {"type": "array", "items": inner}
            if side is not None:
                inner |= {"minItems": side, "maxItems": side}
        return inner

    def preparation(self) -> None:
        """Numbers are passed on as they are."""
        return

    def to_dict(self) -> dict[str, Any]:
        """The field as a manifest holds it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "dtype": self.dtype,
            "shape": list(self.shape),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Tensor:
        """The field that `to_dict` described."""
        return cls(name=record["name"], dtype=record["dtype"], shape=tuple(record["shape"]))

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(
            want is None or want == have for want, have in zip(self.shape, shape, strict=True)
        )

    def _cast(self, loose: NDArray[Any]) -> NDArray[np.generic]:
        import numpy as np

        wanted = np.dtype(self.dtype)
        if wanted.kind in "iu" and loose.size:
            whole = loose if loose.dtype.kind in "biu" else np.rint(loose)
            limits = np.iinfo(wanted)
            if not (whole == loose).all():
                raise self._invalid("must be whole numbers", "fractions")
            # As Python's numbers: NumPy's would round the limits of 64 bits to those of a float.
            if int(whole.min()) < limits.min or int(whole.max()) > limits.max:
                raise self._invalid(f"does not fit {self.dtype}", f"{loose.min()}..{loose.max()}")
        with np.errstate(over="ignore"):
            cast = loose.astype(wanted)
        if wanted.kind == "f" and not np.isfinite(cast).all():
            raise self._invalid(f"does not fit {self.dtype}", "numbers too large")
        return cast

    def _invalid(self, what: str, got: str) -> InvalidInput:
        sides = ", ".join("any" if side is None else str(side) for side in self.shape)
        return InvalidInput(
            f"The field {self.name!r} {what}.",
            hint=f"Send {self.dtype} numbers of shape [{sides}] as nested lists.",
            field=self.name,
            expected=f"{self.dtype} of shape [{sides}]",
            got=got,
        )


def _name_type(value: object) -> str:
    names = {str: "text", dict: "an object", type(None): "null", bytes: "bytes"}
    return names.get(type(value), f"a {type(value).__name__} of something else")
