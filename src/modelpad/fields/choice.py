"""A choice: one categorical column of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from modelpad.errors import InvalidInput
from modelpad.fields.field import invalid_value
from modelpad.foreign_json import Json, boolean_at, list_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CHOICES = 10_000
MAX_NAMED = 12  # in a message
INT64 = range(-(2**63), 2**63)
INTEGER = re.compile(r"[+-]?[0-9]{1,19}(\.0*)?")  # pandas writes 3.0 where a column has gaps


class Choice(msgspec.Struct, frozen=True):
    """One of `choices`, which are all text or all whole numbers.

    With `allow_other`, categories that the model was not trained on are accepted too. The array is
    0-dimensional: object with one `str`, or int64.
    """

    name: str
    choices: tuple[str | int, ...]
    allow_other: bool = False

    kind: ClassVar[str] = "choice"
    widget: ClassVar[str] = "choice"

    def __post_init__(self) -> None:
        if not 1 <= len(self.choices) <= MAX_CHOICES:
            raise ValueError(f"a choice needs from 1 to {MAX_CHOICES:,} choices")
        if {type(choice) for choice in self.choices} not in ({str}, {int}):
            raise ValueError("choices must be all text or all whole numbers")
        if len(set(self.choices)) != len(self.choices):
            raise ValueError("duplicate choices")
        if not all(isinstance(choice, str) or choice in INT64 for choice in self.choices):
            raise ValueError("choices must fit into int64")

    @property
    def dtype(self) -> str:
        """`string` or `int64`."""
        return "string" if isinstance(self.choices[0], str) else "int64"

    def decode(self, value: object) -> NDArray[np.object_] | NDArray[np.int64]:
        """A category, or its text as in a form or a CSV. Raises `InvalidInput`.

        Empty text is a missing value, and therefore invalid, unless it is one of the choices.
        """
        import numpy as np

        found = self._read(value)
        is_other = self.allow_other and found not in (None, "")
        if found not in self.choices and not is_other:
            raise self._invalid(value)
        return np.array(found, dtype=object if self.dtype == "string" else np.int64)

    def encode(self, array: NDArray[np.generic]) -> str | int:
        import numpy as np

        value: object = np.asarray(array).reshape(-1).tolist()[0]
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return int(value) if isinstance(value, int | float) else str(value)

    def schema(self) -> dict[str, Json]:
        """An enumeration; with `allow_other`, the choices are examples."""
        kind = "string" if self.dtype == "string" else "integer"
        return {"type": kind, "examples" if self.allow_other else "enum": [*self.choices]}

    def preparation(self) -> None:
        return None

    def to_dict(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "choices": [*self.choices],
            "allow_other": self.allow_other,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Choice:
        choices = []
        for choice in list_at(record, "choices"):
            if not isinstance(choice, str | int):
                raise TypeError("a choice is neither text nor a whole number")
            choices.append(choice)
        return cls(text_at(record, "name"), tuple(choices), boolean_at(record, "allow_other"))

    def _read(self, value: object) -> str | int | None:
        """The text or int64 that a value stands for; None if it is neither."""
        if isinstance(value, bytes | bytearray):
            value = value.decode("utf-8", "replace")
        if self.dtype == "string":
            return value if isinstance(value, str) else None
        if isinstance(value, str) and INTEGER.fullmatch(value.strip()):
            value = int(value.strip().partition(".")[0])
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        whole = isinstance(value, int) and not isinstance(value, bool) and value in INT64
        return value if whole and isinstance(value, int) else None

    def _invalid(self, value: object) -> InvalidInput:
        known = ", ".join(str(choice) for choice in self.choices[:MAX_NAMED])
        more = ", ..." if len(self.choices) > MAX_NAMED else ""
        missing = value is None or value in ("", b"")
        problem = "is missing" if missing else "is not one of its choices"
        other = "text" if self.dtype == "string" else "a whole number"
        return invalid_value(
            self.name,
            problem,
            hint=f"Choices: {known}{more}.",
            expected=other if self.allow_other else f"one of {known}{more}",
            got=repr(value)[:60] if isinstance(value, str | bool) else type(value).__name__,
        )
