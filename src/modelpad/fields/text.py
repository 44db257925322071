"""Text: one string, for the graph or for a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields.field import check_sizes, invalid_value
from modelpad.foreign_json import Json, integer_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CHARACTERS = 100_000_000


class Text(msgspec.Struct, frozen=True):
    """One string of at most `max_length` characters, as a 0-dimensional object array."""

    name: str = "text"
    max_length: int = 20_000

    kind: ClassVar[str] = "text"
    widget: ClassVar[str] = "text-box"

    def __post_init__(self) -> None:
        check_sizes("max_length", self.max_length, maximum=MAX_CHARACTERS)

    def decode(self, value: object) -> NDArray[np.object_]:
        """A string or UTF-8 bytes as a 0-dimensional array of one `str`.

        Raises:
            InvalidInput: the value is not text, is empty or is not UTF-8.
            TooLarge: the text is longer than `max_length` characters.
        """
        import numpy as np

        if isinstance(value, bytes | bytearray):
            value = self._decode_utf8(bytes(value))
        if not isinstance(value, str):
            raise self._invalid("is not text", type(value).__name__)
        if not value.strip():
            raise self._invalid("is empty", "no characters")
        if len(value) > self.max_length:
            raise TooLarge(
                f"The text in {self.name!r} has {len(value):,} characters;"
                f" at most {self.max_length:,} are allowed.",
                hint="Send a shorter text.",
                field=self.name,
                limit=self.max_length,
                got=len(value),
            )
        return np.array(value, dtype=object)

    def encode(self, array: NDArray[np.generic]) -> str:
        # Indexing an array of objects gives the string itself, not a 0-dimensional array.
        value: object = array.item() if hasattr(array, "item") else array
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def schema(self) -> dict[str, Json]:
        return {"type": "string", "minLength": 1, "maxLength": self.max_length}

    def preparation(self) -> None:
        return None

    def to_dict(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "max_length": self.max_length,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Text:
        return cls(text_at(record, "name"), integer_at(record, "max_length"))

    def _decode_utf8(self, body: bytes) -> str:
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._invalid("is not UTF-8", f"byte {error.start} is not UTF-8") from error

    def _invalid(self, problem: str, got: str) -> InvalidInput:
        hint = "Send a string in UTF-8."
        return invalid_value(self.name, problem, hint=hint, expected="non-empty text", got=got)
