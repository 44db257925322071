"""Tokenizers: turn a text field's string into the tensors of a language model.

A manifest names a `tokenizer.json` of the bundle, as the `tokenizers` library writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from modelpad.errors import BundleInvalid, MissingExtra, first_line
from modelpad.fields.field import check_sizes
from modelpad.foreign_json import Json, integer_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_TOKENS = 1_000_000

ReadFile = Callable[[str], bytes]
"""Reads a file of a bundle by its name."""


class Encode(Protocol):
    """A loaded tokenizer."""

    def __call__(self, text: str) -> Mapping[str, NDArray[np.int64]]:
        """The text's tokens as an array (tokens,) for each tensor."""


class Tokenizer(msgspec.Struct, frozen=True):
    """A tokenizer's file, and which tensors take its results.

    `ids` takes the tokens, special ones included; `mask` ones; `segments` the number of the
    sentence that each token belongs to. Texts of more than `max_length` tokens are truncated.
    """

    file: str
    max_length: int
    ids: str
    mask: str | None = None
    segments: str | None = None

    def __post_init__(self) -> None:
        check_sizes("max_length", self.max_length, maximum=MAX_TOKENS)

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of all tensors that it fills."""
        return tuple(name for name in (self.ids, self.mask, self.segments) if name is not None)

    def load(self, read: ReadFile) -> Encode:
        """Loads the file.

        Raises:
            MissingExtra: the `tokenizers` library is not installed.
            BundleInvalid: the file is not a tokenizer.
        """
        try:
            import tokenizers
        except ImportError as error:
            raise MissingExtra("tokenizers", extra="text") from error
        body = read(self.file)
        try:
            loaded = tokenizers.Tokenizer.from_buffer(body)
            side = (loaded.truncation or {}).get("direction", "right")
            loaded.enable_truncation(self.max_length, direction=side)
            loaded.no_padding()
        except Exception as error:
            raise BundleInvalid(
                f"{self.file} is not a tokenizer: {first_line(error, 200)}",
                hint="Write the bundle again from its source model.",
            ) from error
        return lambda text: self._encode(loaded, text)

    def _encode(self, loaded: object, text: str) -> dict[str, NDArray[np.int64]]:
        import numpy as np

        encoded = loaded.encode(text)  # type: ignore[attr-defined]
        parts = ((self.ids, "ids"), (self.mask, "attention_mask"), (self.segments, "type_ids"))
        return {
            name: np.array(getattr(encoded, part), dtype=np.int64)
            for name, part in parts
            if name is not None
        }

    def preparation(self) -> dict[str, Json]:
        """Its entry in a manifest's `preparation`."""
        return {"name": "tokenizer", "file": self.file, "max_length": self.max_length}

    def to_dict(self) -> dict[str, Json]:
        """Its part of a binding's entry in a manifest."""
        return {
            "file": self.file,
            "max_length": self.max_length,
            "ids": self.ids,
            "mask": self.mask,
            "segments": self.segments,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Tokenizer:
        """The inverse of `to_dict`. Raises `KeyError`, `TypeError` or `ValueError`."""
        return cls(
            text_at(record, "file"),
            integer_at(record, "max_length"),
            text_at(record, "ids"),
            None if record["mask"] is None else text_at(record, "mask"),
            None if record["segments"] is None else text_at(record, "segments"),
        )
