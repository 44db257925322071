"""A number: one numeric column of a table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from modelpad.errors import InvalidInput, ModelFailed
from modelpad.fields.field import invalid_value
from modelpad.foreign_json import Json, boolean_at, optional_number_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Stricter than Python's float(), which also reads "1_000", "inf" and other scripts' digits.
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
MISSING = ("", "na", "nan", "null")  # as pandas, R and NumPy write a missing value, in lower case
MAX_CHARACTERS = 400
INT64 = range(-(2**63), 2**63)


class Number(msgspec.Struct, frozen=True):
    """One finite number from `minimum` to `maximum`, both inclusive; missing is NaN if `nullable`.

    A request may leave out one with a `default`.
    The array is 0-dimensional: int64 for a `whole` number that may not be missing, else float64.
    """

    name: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    whole: bool = False
    nullable: bool = False
    default: float | None = None

    kind: ClassVar[str] = "number"
    widget: ClassVar[str] = "number"

    def __post_init__(self) -> None:
        for name, bound in (("minimum", self.minimum), ("maximum", self.maximum)):
            if bound is not None and not math.isfinite(bound):
                raise ValueError(f"{name} must be a finite number, not {bound}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is larger than maximum {self.maximum}")
        if self.default is not None:
            try:
                self.decode(self.default)
            except InvalidInput as error:
                raise ValueError(f"the default {self.default}: {error}") from None

    def decode(self, value: object) -> NDArray[np.float64] | NDArray[np.int64]:
        """A JSON number, or text as in a form or a CSV, as a 0-dimensional array.

        Null, NaN, empty text, `NA`, `NaN` and `null` are missing values. Raises `InvalidInput`.
        """
        import numpy as np

        number = self._read(value)
        if number is None:
            return np.array(np.nan, dtype=np.float64)
        if self.whole and number != int(number):
            raise self._invalid("is not a whole number", value)
        if (self.minimum is not None and number < self.minimum) or (
            self.maximum is not None and number > self.maximum
        ):
            raise self._invalid("is out of range", value)
        if not self.whole or self.nullable:
            return np.array(number, dtype=np.float64)
        if int(number) not in INT64:
            raise self._invalid("is too large", value)
        return np.array(int(number), dtype=np.int64)

    def encode(self, array: NDArray[np.generic]) -> float | int | None:
        """The number; None for NaN if `nullable`. Raises `ModelFailed` if it is not finite."""
        import numpy as np

        values = np.asarray(array).reshape(-1)
        if values.size == 1 and values.dtype.kind in "biuf":
            number = float(values[0])
            if math.isnan(number) and self.nullable:
                return None
            if math.isfinite(number):
                return int(values[0]) if self.whole and number == int(number) else number
        raise ModelFailed(
            f"The model's output {self.name!r} is not one finite number.",
            hint="Check the model on this input in its own framework.",
            got=f"shape {list(np.shape(array))}",
        )

    def schema(self) -> dict[str, Json]:
        kind = "integer" if self.whole else "number"
        schema: dict[str, Json] = {"type": [kind, "null"] if self.nullable else kind}
        if self.minimum is not None:
            schema["minimum"] = self.minimum
        if self.maximum is not None:
            schema["maximum"] = self.maximum
        if self.default is not None:
            schema["default"] = self.default
        return schema | ({"description": f"in {self.unit}"} if self.unit else {})

    def preparation(self) -> None:
        return None

    def to_dict(self) -> dict[str, Json]:
        default: dict[str, Json] = {} if self.default is None else {"default": self.default}
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "unit": self.unit,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "whole": self.whole,
            "nullable": self.nullable,
            **default,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Number:
        return cls(
            name=text_at(record, "name"),
            unit=text_at(record, "unit"),
            minimum=optional_number_at(record, "minimum"),
            maximum=optional_number_at(record, "maximum"),
            whole=boolean_at(record, "whole"),
            nullable=boolean_at(record, "nullable"),
            default=optional_number_at(record, "default"),
        )

    def _read(self, value: object) -> float | int | None:
        """The finite number, exact if it is written as a whole one; None if it is missing."""
        if isinstance(value, bytes | bytearray):
            value = value[: MAX_CHARACTERS + 1].decode("utf-8", "replace")
        if self.nullable and _is_missing(value):
            return None
        if isinstance(value, str):
            number = _parse(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            number = value
        else:
            raise self._invalid("is not a number", value)
        try:
            if number is not None and math.isfinite(number):
                return number
        except OverflowError:
            raise self._invalid("is too large", value) from None
        raise self._invalid("is missing" if _is_missing(value) else "is not a number", value)

    def _invalid(self, problem: str, value: object) -> InvalidInput:
        comma = isinstance(value, str) and _parse(value.replace(",", ".", 1)) is not None
        misread = comma and "," in str(value)
        return invalid_value(
            self.name,
            problem,
            hint="Use a decimal point and no thousands separators." if misread else "",
            expected=self._describe(),
            got=repr(value)[:60] if isinstance(value, str | float | None) else _describe(value),
        )

    def _describe(self) -> str:
        """For example: `a whole number from 0 to 120 (years)`."""
        words = "a whole number" if self.whole else "a number"
        if self.minimum is not None and self.maximum is not None:
            words += f" from {self.minimum:g} to {self.maximum:g}"
        elif self.minimum is not None:
            words += f" of at least {self.minimum:g}"
        elif self.maximum is not None:
            words += f" of at most {self.maximum:g}"
        words += f" ({self.unit})" if self.unit else ""
        return f"{words}, or null" if self.nullable else words


def _is_missing(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def _parse(text: str) -> float | int | None:
    """The number that a text consists of; None if there is none."""
    text = text.strip()
    if len(text) > MAX_CHARACTERS or not DECIMAL.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _describe(value: object) -> str:
    """An integer may have too many digits to be printed."""
    return type(value).__name__ if not isinstance(value, bool) else repr(value)
