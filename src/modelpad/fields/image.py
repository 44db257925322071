"""A photograph or any other image, of fixed or free size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from modelpad.errors import InvalidInput
from modelpad.fields.field import check_sizes
from modelpad.foreign_json import Json, integer_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SIDE = 5_000  # pixels; its square is `picture.MAX_PIXELS`


@dataclass(frozen=True, slots=True)
class Image:
    """An image as float32 (height, width, channels), 0..255, channels last, RGB or greyscale.

    The graph does the scaling and normalising. Images of another size are resized, unless `height`
    and `width` are None.
    """

    name: str = "image"
    height: int | None = 224
    width: int | None = 224
    channels: int = 3

    kind: ClassVar[str] = "image"
    widget: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}")
        check_sizes("height and width", self.height, self.width, maximum=MAX_SIDE)
        if (self.height is None) != (self.width is None):
            raise ValueError("height and width must be both set or both null")

    def decode(self, value: object) -> NDArray[np.float32]:
        """An encoded image or a nested list as float32 (height, width, channels).

        Raises:
            InvalidInput: the value is neither.
            TooLarge: the image has too many pixels.
        """
        import numpy as np

        if isinstance(value, list):
            from modelpad.fields.tensor import Tensor

            shape = (self.height, self.width, self.channels)
            return Tensor(self.name, "float32", shape).decode(value).astype(np.float32)
        from PIL import Image as Pillow

        from modelpad.fields.picture import read_picture

        picture = read_picture(value, field=self.name)
        if picture.mode in ("RGBA", "LA", "P", "PA"):
            picture = picture.convert("RGBA")
            background = Pillow.new("RGBA", picture.size, "white")
            picture = Pillow.alpha_composite(background, picture)
        picture = picture.convert("RGB" if self.channels == 3 else "L")
        if self.height is not None and self.width is not None:
            size = (self.width, self.height)
            if picture.size != size:
                picture = picture.resize(size, Pillow.Resampling.BILINEAR)
        pixels = np.asarray(picture, dtype=np.float32)
        return pixels if self.channels == 3 else pixels[:, :, np.newaxis]

    def encode(self, array: NDArray[np.generic]) -> str:
        """A PNG `data:` URL of pixels (height, width, channels), 0..255."""
        import base64

        return "data:image/png;base64," + base64.b64encode(self.encode_png(array)).decode("ascii")

    def encode_png(self, array: NDArray[np.generic]) -> bytes:
        """A PNG file of pixels (height, width, channels), rounded and clipped to 0..255.

        Raises `InvalidInput` for another shape, or channels other than 1 and 3.
        """
        import io

        import numpy as np
        from PIL import Image as Pillow

        if array.ndim != 3 or array.shape[2] not in (1, 3):
            raise InvalidInput(
                f"The output {self.name!r} has shape {array.shape}, which is not a picture.",
                field=self.name,
                expected="(height, width, 1 or 3)",
                got=str(array.shape),
            )
        pixels = np.clip(np.rint(array.astype(np.float32)), 0, 255).astype(np.uint8)
        picture = Pillow.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        file = io.BytesIO()
        picture.save(file, "PNG")
        return file.getvalue()

    def schema(self) -> dict[str, Json]:
        """A base64 string, a `data:` URL, or nested lists."""
        sides = (self.height or "height", self.width or "width", self.channels)
        shape = " x ".join(str(side) for side in sides)
        return {
            "anyOf": [
                {"type": "string", "description": "the picture as a data: URL or base64"},
                {"type": "array", "description": f"{shape} numbers 0..255"},
            ]
        }

    def preparation(self) -> dict[str, Json]:
        return {
            "name": "resize",
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "filter": "bilinear",
        }

    def to_dict(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Image:
        return cls(
            name=text_at(record, "name"),
            height=None if record["height"] is None else integer_at(record, "height"),
            width=None if record["width"] is None else integer_at(record, "width"),
            channels=integer_at(record, "channels"),
        )
