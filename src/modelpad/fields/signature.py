"""The named input fields and output fields of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelpad.errors import BundleInvalid
from modelpad.fields.field import Field, field_from_dict


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and what it answers; names are unique on each side."""

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]

    def __post_init__(self) -> None:
        for side, fields in (("input", self.inputs), ("output", self.outputs)):
            if not fields:
                raise ValueError(f"a signature needs at least one {side}")
            names = [field.name for field in fields]
            if len(set(names)) != len(names):
                raise ValueError(f"{side} names repeat: {', '.join(names)}")

    def to_dict(self) -> dict[str, Any]:
        """The signature as a manifest holds it."""
        return {
            "inputs": [field.to_dict() for field in self.inputs],
            "outputs": [field.to_dict() for field in self.outputs],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Signature:
        """The signature that `to_dict` described. Raises `BundleInvalid`."""
        try:
            return cls(
                inputs=tuple(field_from_dict(field) for field in record["inputs"]),
                outputs=tuple(field_from_dict(field) for field in record["outputs"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleInvalid(
                f"The manifest's signature makes no sense: {error}.",
                hint="It needs `inputs` and `outputs`, each a list of fields.",
            ) from error
