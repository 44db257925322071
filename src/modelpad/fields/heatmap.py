"""A heat map: where in an input image a model sees what it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from modelpad.errors import ModelFailed
from modelpad.foreign_json import Json, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DECIMALS = 3


class Heatmap(msgspec.Struct, frozen=True):
    """Where a label's class is seen: the graph's output `tensor`, (batch, height, width), 0..1.

    `over` is the input field with the image. The map covers the part of it that the model is
    shown, which is its centre if the field crops.
    """

    tensor: str
    over: str

    def encode(self, array: NDArray[np.generic]) -> list[list[float]]:
        """One item's map (height, width) as rows of numbers, rounded to three decimals.

        Raises:
            ModelFailed: it has another rank, or is not finite.
        """
        import numpy as np

        numbers = np.asarray(array, dtype=np.float64)
        if numbers.ndim != 2 or not np.isfinite(numbers).all():
            raise ModelFailed(
                f"The model's output {self.tensor!r} is not a finite heat map.",
                hint="Check the model on this input in its own framework.",
                got=f"shape {list(np.shape(array))}",
            )
        rows: list[list[float]] = np.round(numbers, DECIMALS).tolist()
        return rows

    def schema(self) -> dict[str, Json]:
        """The JSON schema of what `encode` returns."""
        row: dict[str, Json] = {"type": "array", "items": {"type": "number"}}
        meaning = f"where in {self.over} the label is seen: rows of numbers 0..1"
        return {"type": "array", "items": row, "description": meaning}

    def to_dict(self) -> dict[str, Json]:
        """The entry in a manifest."""
        return {"tensor": self.tensor, "over": self.over}

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Heatmap:
        """The inverse of `to_dict`."""
        return cls(text_at(record, "tensor"), text_at(record, "over"))
