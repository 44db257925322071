"""The named input fields and output fields of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelpad.errors import BundleInvalid
from modelpad.fields.field import Field
from modelpad.fields.kinds import field_from_dict
from modelpad.foreign_json import Json, as_object, list_at


@dataclass(frozen=True, slots=True)
class Signature:
    """A model's inputs and outputs; names are unique on each side."""

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]

    def __post_init__(self) -> None:
        for side, fields in (("input", self.inputs), ("output", self.outputs)):
            if not fields:
                raise ValueError(f"a signature needs at least one {side}")
            names = [field.name for field in fields]
            if len(set(names)) != len(names):
                raise ValueError(f"duplicate {side} names: {', '.join(names)}")

    def to_dict(self) -> dict[str, Json]:
        """The signature's entry in a manifest."""
        return {
            "inputs": [field.to_dict() for field in self.inputs],
            "outputs": [field.to_dict() for field in self.outputs],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Signature:
        """The inverse of `to_dict`. Raises `BundleInvalid`."""
        try:
            return cls(inputs=_fields_at(record, "inputs"), outputs=_fields_at(record, "outputs"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleInvalid(
                f"The manifest has an invalid signature: {error}.",
                hint="It needs `inputs` and `outputs`, each a list of fields.",
            ) from error


def _fields_at(record: Mapping[str, Json], side: str) -> tuple[Field, ...]:
    return tuple(field_from_dict(as_object(field, "a field")) for field in list_at(record, side))
