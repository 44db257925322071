"""Text, as a string the graph or the tokeniser named in the manifest takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields.field import check_sizes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CHARACTERS = 100_000_000


@dataclass(frozen=True, slots=True)
class Text:
    """One string of at most `max_length` characters, as a 0-dimensional object array."""

    name: str = "text"
    max_length: int = 20_000

    kind: ClassVar[str] = "text"
    widget: ClassVar[str] = "text-box"

    def __post_init__(self) -> None:
        check_sizes("max_length", self.max_length, most=MAX_CHARACTERS)

    def decode(self, value: object) -> NDArray[np.object_]:
        """A string or UTF-8 bytes as a 0-dimensional array of one `str`.

        Raises:
            InvalidInput: it is no text, or empty, or not UTF-8.
            TooLarge: it is longer than `max_length` characters.
        """
        import numpy as np

        if isinstance(value, bytes | bytearray):
            value = self._decode_utf8(bytes(value))
        if not isinstance(value, str):
            raise self._invalid(f"The field {self.name!r} is not text.", type(value).__name__)
        if not value.strip():
            raise self._invalid(f"The field {self.name!r} is empty.", "no characters")
        if len(value) > self.max_length:
            raise TooLarge(
                f"The text in {self.name!r} has {len(value):,} characters;"
                f" at most {self.max_length:,} are taken.",
                hint="Send a shorter text.",
                limit=self.max_length,
                got=len(value),
            )
        return np.array(value, dtype=object)

    def encode(self, array: NDArray[np.generic]) -> str:
        """The string itself."""
        # An item of an array of objects is the string, not an array of none.
        value: object = array.item() if hasattr(array, "item") else array
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    def schema(self) -> dict[str, Any]:
        """A string."""
        return {"type": "string", "minLength": 1, "maxLength": self.max_length}

    def preparation(self) -> None:
        """Text is passed on as it is."""
        return

    def to_dict(self) -> dict[str, Any]:
        """The field as a manifest holds it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "max_length": self.max_length,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Text:
        """The field that `to_dict` described."""
        return cls(name=record["name"], max_length=int(record["max_length"]))

    def _decode_utf8(self, body: bytes) -> str:
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._invalid(
                f"The text in {self.name!r} is not UTF-8.", f"byte {error.start} is not UTF-8"
            ) from error

    def _invalid(self, message: str, got: str) -> InvalidInput:
        return InvalidInput(
            message,
            hint="Send a string in UTF-8.",
            field=self.name,
            expected="text that is not empty",
            got=got,
        )
