"""A drawing, preprocessed as MNIST was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from modelpad.errors import InvalidInput
from modelpad.fields.field import check_sizes
from modelpad.foreign_json import Json, integer_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SIZE = 1_024  # pixels


class Sketch(msgspec.Struct, frozen=True):
    """A drawing as float32 (size, size), from 0 for paper to 255 for ink.

    An image is cropped to its ink, scaled so that its longer side is `box` pixels, and centred by
    its centre of mass (LeCun et al., 1998). A nested list of size x size numbers 0..255 is used
    unchanged.
    """

    name: str = "image"
    size: int = 28
    box: int = 20

    kind: ClassVar[str] = "sketch"
    widget: ClassVar[str] = "drawing-pad"

    def __post_init__(self) -> None:
        check_sizes("size", self.size, maximum=MAX_SIZE)
        check_sizes("box", self.box, maximum=self.size)

    def decode(self, value: object) -> NDArray[np.float32]:
        """An encoded image or a nested list as float32 (size, size).

        Raises:
            EmptyCanvas: there is no ink.
            InvalidInput: the value is neither.
            TooLarge: the image has too many pixels.
        """
        import numpy as np

        if isinstance(value, list):
            return self._decode_list(value)
        from modelpad.fields.picture import read_picture
        from modelpad.fields.preparation import prepare_sketch

        picture = read_picture(value, field=self.name)
        try:
            return prepare_sketch(picture, size=self.size, box=self.box).astype(np.float32)
        except InvalidInput as error:
            error.details.setdefault("field", self.name)
            raise

    def encode(self, array: NDArray[np.generic]) -> object:
        return array.tolist()

    def schema(self) -> dict[str, Json]:
        """A base64 string, a `data:` URL, or a size x size list of numbers 0..255."""
        limits: dict[str, Json] = {"minItems": self.size, "maxItems": self.size}
        pixel: dict[str, Json] = {"type": "number", "minimum": 0, "maximum": 255}
        row: dict[str, Json] = {"type": "array", "items": pixel, **limits}
        return {
            "anyOf": [
                {"type": "string", "description": "the drawing as a data: URL or base64"},
                {"type": "array", "items": row, **limits},
            ]
        }

    def preparation(self) -> dict[str, Json]:
        return {"name": "sketch", "size": self.size, "box": self.box}

    def to_dict(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "size": self.size,
            "box": self.box,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Sketch:
        return cls(
            name=text_at(record, "name"),
            size=integer_at(record, "size"),
            box=integer_at(record, "box"),
        )

    def _decode_list(self, value: list[object]) -> NDArray[np.float32]:
        import numpy as np

        from modelpad.fields.tensor import Tensor

        tensor = Tensor(self.name, "float32", (self.size, self.size))
        grid = tensor.decode(value).astype(np.float32)
        if grid.min() < 0 or grid.max() > 255:
            raise InvalidInput(
                f"The field {self.name!r} has numbers outside 0 to 255.",
                hint="Send ink as 255 and paper as 0.",
                field=self.name,
                expected="numbers from 0 to 255",
                got=f"numbers from {grid.min():g} to {grid.max():g}",
            )
        return grid
