"""A sketch: something drawn, prepared the way MNIST was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from modelpad.errors import InvalidInput
from modelpad.fields.field import check_sizes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SIZE = 1_024  # pixels


@dataclass(frozen=True, slots=True)
class Sketch:
    """A drawing as grey ink on nothing: float32 (size, size), 0 for paper to 255 for ink.

    A picture is cropped to its ink, scaled until its longer side is `box` pixels and centred by
    its centre of mass (LeCun et al., 1998). A nested list of size x size numbers 0..255 is taken
    as it is.
    """

    name: str = "image"
    size: int = 28
    box: int = 20

    kind: ClassVar[str] = "sketch"
    widget: ClassVar[str] = "drawing-pad"

    def __post_init__(self) -> None:
        check_sizes("size", self.size, most=MAX_SIZE)
        check_sizes("box", self.box, most=self.size)

    def decode(self, value: object) -> NDArray[np.float32]:
        """A picture or a nested list as float32 (size, size).

        Raises:
            EmptyCanvas: there is no ink.
            InvalidInput: it is neither a picture nor such a list.
            TooLarge: the picture has too many pixels.
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

    def encode(self, array: NDArray[np.generic]) -> list[Any]:
        """Nested lists of numbers."""
        listed: list[Any] = array.tolist()
        return listed

    def schema(self) -> dict[str, Any]:
        """Base64 text, a `data:` URL, or a size x size list of numbers 0..255."""
        row = {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 255},
            "minItems": self.size,
            "maxItems": self.size,
        }
        grid = {"type": "array", "items": row, "minItems": self.size, "maxItems": self.size}
        text = {"type": "string", "description": "the drawing as a data: URL or base64"}
        return {"anyOf": [text, grid]}

    def preparation(self) -> dict[str, Any]:
        """The preparation's name and parameters."""
        return {"name": "sketch", "size": self.size, "box": self.box}

    def to_dict(self) -> dict[str, Any]:
        """The field as a manifest holds it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "size": self.size,
            "box": self.box,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Sketch:
        """The field that `to_dict` described."""
        return cls(name=record["name"], size=int(record["size"]), box=int(record["box"]))

    def _decode_list(self, value: list[Any]) -> NDArray[np.float32]:
        from modelpad.fields.tensor import Tensor

        grid: NDArray[Any] = Tensor(self.name, "float32", (self.size, self.size)).decode(value)
        if grid.min() < 0 or grid.max() > 255:
            raise InvalidInput(
                f"The field {self.name!r} has numbers outside 0 to 255.",
                hint="Send ink as 255 and paper as 0.",
                field=self.name,
                expected="numbers from 0 to 255",
                got=f"numbers from {grid.min():g} to {grid.max():g}",
            )
        import numpy as np

        return grid.astype(np.float32)
