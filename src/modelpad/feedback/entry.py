"""What a person said about a prediction, before and after it is stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

JSON_TYPE = "application/json"
ID_CHARS = 16


@dataclass(frozen=True, slots=True)
class Item:
    """A model's input: a picture's file as it was sent, else JSON of the field values."""

    media_type: str
    body: bytes

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture's file."""
        return self.media_type != JSON_TYPE

    @property
    def content(self) -> str:
        """The SHA-256 of its bytes, in hex."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, slots=True)
class Correction:
    """An item with the label that a version predicted, and the right one, which may be the same.

    `note` is what the person was told about the use of the item, or what they added.
    """

    model: str
    version: int
    item: Item
    predicted: str
    label: str
    note: str = ""

    @property
    def id(self) -> str:
        """Depends on the model and the item alone: the same item is stored once."""
        key = f"{self.model}\0{self.item.content}".encode()
        return hashlib.sha256(key).hexdigest()[:ID_CHARS]


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored correction without its item. `created` is in UTC (ISO 8601), `bytes` of the item."""

    id: str
    model: str
    version: int
    created: str
    media_type: str
    bytes: int
    predicted: str
    label: str
    note: str

    @property
    def is_right(self) -> bool:
        """Whether the prediction was confirmed."""
        return self.predicted == self.label


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a sender gets: `token` allows to undo this correction, and no other.

    `replaced` is whether the same item had been labelled before.
    """

    id: str
    token: str
    replaced: bool
