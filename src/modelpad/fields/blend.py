"""A mixture of named things, such as styles: one of them, or several with weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from modelpad.errors import InvalidInput
from modelpad.fields.field import invalid_value
from modelpad.foreign_json import Json, list_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CHOICES = 1_000
MAX_NAMED = 12  # in a message
MAX_CHARACTERS = 10_000


class Blend(msgspec.Struct, frozen=True):
    """The weights of `choices`, as float32 (choices,) that sum to 1. The first is the default.

    A request names one (`wave`), or gives several with weights: `wave:2,scream:1`, or the JSON
    object `{"wave": 2, "scream": 1}`. `pictures` are files of the bundle that show the choices, in
    their order; there may be none.
    """

    name: str
    choices: tuple[str, ...]
    pictures: tuple[str, ...] = ()

    kind: ClassVar[str] = "blend"
    widget: ClassVar[str] = "choice"

    def __post_init__(self) -> None:
        if not 1 <= len(self.choices) <= MAX_CHOICES:
            raise ValueError(f"a blend needs from 1 to {MAX_CHOICES:,} choices")
        if len(set(self.choices)) != len(self.choices):
            raise ValueError("duplicate choices")
        if not all(each and not set(each) & set(":,{") for each in self.choices):
            raise ValueError("choices must be text without colons, commas and braces")
        if self.pictures and len(self.pictures) != len(self.choices):
            raise ValueError(f"{len(self.pictures)} pictures for {len(self.choices)} choices")

    @property
    def default(self) -> str:
        """The value of a request without one."""
        return self.choices[0]

    def decode(self, value: object) -> NDArray[np.float32]:
        """The weights of a name, of text, or of an object. Raises `InvalidInput`."""
        import numpy as np

        weights = np.zeros(len(self.choices), np.float64)
        for name, weight in self._read(value).items():
            if name not in self.choices:
                raise self._invalid("is not one of its choices", repr(name)[:60])
            weights[self.choices.index(name)] = weight
        total = weights.sum()
        if not 0 < total < math.inf:
            raise self._invalid("has no weight above 0", repr(value)[:60])
        shares: NDArray[np.float32] = (weights / total).astype(np.float32)
        return shares

    def encode(self, array: NDArray[np.generic]) -> dict[str, float]:
        """The weights above 0 by name."""
        import numpy as np

        weights = np.asarray(array, np.float64).reshape(-1).tolist()
        return {
            name: round(weight, 6)
            for name, weight in zip(self.choices, weights, strict=True)
            if weight > 0
        }

    def schema(self) -> dict[str, Json]:
        """A name, or an object of weights."""
        weights: dict[str, Json] = {
            "type": "object",
            "properties": {name: {"type": "number", "minimum": 0} for name in self.choices},
            "additionalProperties": False,
            "minProperties": 1,
        }
        return {
            "anyOf": [{"type": "string", "enum": [*self.choices]}, weights],
            "default": self.default,
        }

    def preparation(self) -> None:
        return None

    def to_dict(self) -> dict[str, Json]:
        pictures: dict[str, Json] = {"pictures": [*self.pictures]} if self.pictures else {}
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "choices": [*self.choices],
            **pictures,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Blend:
        choices = [str(choice) for choice in list_at(record, "choices")]
        pictures = list_at(record, "pictures") if "pictures" in record else []
        return cls(text_at(record, "name"), tuple(choices), tuple(map(str, pictures)))

    def _read(self, value: object) -> dict[str, float]:
        """The weights that a value stands for."""
        if isinstance(value, bytes | bytearray):
            value = value[: MAX_CHARACTERS + 1].decode("utf-8", "replace")
        if isinstance(value, str):
            value = self._parse(value.strip())
        if not isinstance(value, Mapping) or not value:
            raise self._invalid("is neither a name nor weights", type(value).__name__)
        return {str(name): self._check(weight) for name, weight in value.items()}

    def _parse(self, text: str) -> object:
        """Text as an object: a name, `name:weight,...`, or JSON."""
        if len(text) > MAX_CHARACTERS:
            raise self._invalid("is too long", f"{len(text):,} characters")
        if text.startswith("{"):
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                raise self._invalid("is not valid JSON", repr(text)[:60]) from None
        parts = (part.partition(":") for part in text.split(","))
        return {name.strip(): weight.strip() if colon else 1.0 for name, colon, weight in parts}

    def _check(self, weight: object) -> float:
        try:
            number = float(weight) if isinstance(weight, str | int | float) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if isinstance(weight, bool) or not 0 <= number < math.inf:
            raise self._invalid("has a weight that is not a number from 0 on", repr(weight)[:60])
        return number

    def _invalid(self, problem: str, got: str) -> InvalidInput:
        known = ", ".join(self.choices[:MAX_NAMED])
        known += ", ..." if len(self.choices) > MAX_NAMED else ""
        return invalid_value(
            self.name,
            problem,
            hint=f"Choices: {known}.",
            expected=f"one of {known}, or weights such as {self.choices[0]}:1",
            got=got,
        )
