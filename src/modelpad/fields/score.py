"""A score: one number, such as a probability or a rating."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from modelpad.errors import InvalidInput
from modelpad.fields.field import read_one_number
from modelpad.foreign_json import Json, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Score(msgspec.Struct, frozen=True):
    """One finite number, as a 0-dimensional float32."""

    name: str = "score"

    kind: ClassVar[str] = "score"
    widget: ClassVar[str] = "score-meter"

    def decode(self, value: object) -> NDArray[np.float32]:
        """A number as a 0-dimensional float32. Raises `InvalidInput`, also if it overflows."""
        import numpy as np

        number = np.array(np.nan, dtype=np.float32)
        if isinstance(value, int | float) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError), np.errstate(over="ignore"):
                number = np.array(float(value), dtype=np.float32)
        if not np.isfinite(number):
            raise InvalidInput(
                f"The field {self.name!r} is not a number.",
                hint="Send one finite number.",
                field=self.name,
                expected="a number",
                got=repr(value)[:60],
            )
        return number

    def encode(self, array: NDArray[np.generic]) -> float:
        """The number, rounded to six decimals. Raises `ModelFailed` if it is not finite."""
        return round(read_one_number(array, f"The model's output {self.name!r}"), 6)

    def schema(self) -> dict[str, Json]:
        return {"type": "number"}

    def preparation(self) -> None:
        return None

    def to_dict(self) -> dict[str, Json]:
        return {"name": self.name, "kind": self.kind, "widget": self.widget}

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Score:
        return cls(name=text_at(record, "name"))
