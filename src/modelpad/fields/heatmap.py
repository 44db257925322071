"""A heat map: where in an input image a model sees what it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from modelpad.errors import InvalidInput, ModelFailed
from modelpad.fields.field import check_sizes
from modelpad.foreign_json import Json, integer_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SIDE = 512
DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Numbers 0..1, float32 (height, width), over the part of an image that the model is shown.

    `over` is the name of the image's input field. A page draws the map over that image, enlarged.
    """

    name: str = "heatmap"
    height: int = 7
    width: int = 7
    over: str = "image"

    kind: ClassVar[str] = "heatmap"
    widget: ClassVar[str] = "heatmap-overlay"

    def __post_init__(self) -> None:
        check_sizes("height and width", self.height, self.width, maximum=MAX_SIDE)

    def decode(self, value: object) -> NDArray[np.float32]:
        """Not an input. Raises `InvalidInput`."""
        raise InvalidInput(
            f"The field {self.name!r} is an output.",
            hint="Send the model's input fields only.",
            field=self.name,
            expected="no value",
            got=repr(value)[:60],
        )

    def encode(self, array: NDArray[np.generic]) -> list[list[float]]:
        """Rows of numbers, rounded to three decimals.

        Raises:
            ModelFailed: it has another shape, or is not finite.
        """
        import numpy as np

        numbers = np.asarray(array, dtype=np.float64)
        if numbers.shape != (self.height, self.width) or not np.isfinite(numbers).all():
            raise ModelFailed(
                f"The model's output {self.name!r} is not a finite heat map of"
                f" {self.height} x {self.width}.",
                hint="Check the model on this input in its own framework.",
                got=f"shape {list(np.shape(array))}",
            )
        rows: list[list[float]] = np.round(numbers, DECIMALS).tolist()
        return rows

    def schema(self) -> dict[str, Json]:
        row: dict[str, Json] = {"type": "array", "items": {"type": "number"}}
        return {
            "type": "array",
            "items": row,
            "description": f"{self.height} x {self.width} numbers 0..1 over the input {self.over}",
        }

    def preparation(self) -> None:
        return None

    def to_dict(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "height": self.height,
            "width": self.width,
            "over": self.over,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Heatmap:
        return cls(
            name=text_at(record, "name"),
            height=integer_at(record, "height"),
            width=integer_at(record, "width"),
            over=text_at(record, "over"),
        )
