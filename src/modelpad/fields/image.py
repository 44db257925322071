"""A picture: a photograph or any image of fixed or free size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from modelpad.errors import InvalidInput
from modelpad.fields.field import check_sizes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_SIDE = 5_000  # pixels: a square of it is as large as the largest picture that is read


@dataclass(frozen=True, slots=True)
class Image:
    """A picture as float32 (height, width, channels), 0..255, channels last, RGB or grey.

    Scaling and normalising are the graph's work. A picture of another size is resized; with
    `height` and `width` None it keeps its own.
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
        check_sizes("height and width", self.height, self.width, most=MAX_SIDE)
        if (self.height is None) != (self.width is None):
            raise ValueError("height and width are both given or both free")

    def decode(self, value: object) -> NDArray[np.float32]:
        """A picture or a nested list as float32 (height, width, channels).

        Raises:
            InvalidInput: it is neither a picture nor such a list.
            TooLarge: the picture has too many pixels.
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
            paper = Pillow.new("RGBA", picture.size, "white")
            picture = Pillow.alpha_composite(paper, picture)
        picture = picture.convert("RGB" if self.channels == 3 else "L")
        if self.height is not None and self.width is not None:
            wanted = (self.width, self.height)
            if picture.size != wanted:
                picture = picture.resize(wanted, Pillow.Resampling.BILINEAR)
        pixels = np.asarray(picture, dtype=np.float32)
        return pixels if self.channels == 3 else pixels[:, :, np.newaxis]

    def encode(self, array: NDArray[np.generic]) -> str:
        """A PNG `data:` URL of (height, width, channels) numbers 0..255."""
        import base64

        return "data:image/png;base64," + base64.b64encode(self.encode_png(array)).decode("ascii")

    def encode_png(self, array: NDArray[np.generic]) -> bytes:
        """The PNG file of (height, width, channels) numbers 0..255, clipped and rounded.

        Raises `InvalidInput` for another shape, or channels other than 1 and 3.
        """
        import io

        import numpy as np
        from PIL import Image as Pillow

        if array.ndim != 3 or array.shape[2] not in (1, 3):
            raise InvalidInput(
                f"The output {self.name!r} of shape {array.shape} is not a picture.",
                field=self.name,
                expected="(height, width, 1 or 3)",
                got=str(array.shape),
            )
        pixels = np.clip(np.rint(array.astype(np.float32)), 0, 255).astype(np.uint8)
        picture = Pillow.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        file = io.BytesIO()
        picture.save(file, "PNG")
        return file.getvalue()

    def schema(self) -> dict[str, Any]:
        """Base64 text, a `data:` URL, or nested lists."""
        text = {"type": "string", "description": "the picture as a data: URL or base64"}
        grid = {"type": "array", "description": f"{self._shape_words()} numbers 0..255"}
        return {"anyOf": [text, grid]}

    def preparation(self) -> dict[str, Any]:
        """The preparation's name and parameters."""
        return {
            "name": "resize",
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "filter": "bilinear",
        }

    def to_dict(self) -> dict[str, Any]:
        """The field as a manifest holds it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Image:
        """The field that `to_dict` described."""
        return cls(
            name=record["name"],
            height=record["height"],
            width=record["width"],
            channels=record["channels"],
        )

    def _shape_words(self) -> str:
        sides = (self.height or "height", self.width or "width", self.channels)
        return " x ".join(str(side) for side in sides)
