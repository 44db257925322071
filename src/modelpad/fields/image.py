"""A photograph or any other image, of fixed or free size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from modelpad.errors import InvalidInput
from modelpad.fields.field import check_sizes
from modelpad.fields.picture_format import PictureFormat
from modelpad.foreign_json import Json, integer_at, optional_integer_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

MAX_SIDE = 5_000  # pixels; its square is `picture.MAX_PIXELS`
STRIP_PIXELS = 250_000  # converted at once: large pictures need little more than their arrays
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
FITS = ("stretch", "crop")


class Image(msgspec.Struct, frozen=True):
    """An image as float32 (height, width, channels), 0..255, channels last, RGB or greyscale.

    Images of another size are resized, unless `height` and `width` are None. `resample` is the
    filter, as Pillow defines it: when it reduces an image, it is widened to prevent aliasing.
    `fit` is `stretch` (both sides to `resize` pixels) or `crop` (the shorter side to `resize`, in
    proportion); what exceeds the height and the width is then cut off around the centre. Without
    `resize`, `stretch` goes straight to the height and the width, and `crop` to the larger of them.
    """

    name: str = "image"
    height: int | None = 224
    width: int | None = 224
    channels: int = 3
    resample: str = "bilinear"
    fit: str = "stretch"
    resize: int | None = None

    kind: ClassVar[str] = "image"
    widget: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}")
        check_sizes("height and width", self.height, self.width, maximum=MAX_SIDE)
        if (self.height is None) != (self.width is None):
            raise ValueError("height and width must be both set or both null")
        if self.resample not in FILTERS or self.fit not in FITS:
            raise ValueError(f"unknown resample or fit: {self.resample!r:.20}, {self.fit!r:.20}")
        check_sizes("resize", self.resize, maximum=MAX_SIDE)
        largest = max(self.height or 0, self.width or 0)
        if self.resize is not None and self.resize < largest:
            raise ValueError(f"resize must be at least {largest}, not {self.resize}")

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
        from modelpad.fields.alpha import on_white
        from modelpad.fields.picture import read_picture, reduce_depth

        picture = on_white(reduce_depth(read_picture(value, field=self.name)))
        mode = "RGB" if self.channels == 3 else "L"
        picture = picture if picture.mode == mode else picture.convert(mode)
        if self.height is not None and self.width is not None:
            picture = self.fit_picture(picture, self.height, self.width)
        return _to_floats(picture, self.channels)

    def fit_picture(self, picture: Picture, height: int, width: int) -> Picture:
        """The picture in this size: resized, and with `crop` its centre."""
        from PIL import Image as Pillow

        size = (self.resize, self.resize) if self.resize else (width, height)
        if self.fit == "crop":
            size = _scale_shorter(picture.size, self.resize or max(height, width))
        if picture.size != size:
            picture = picture.resize(size, Pillow.Resampling[self.resample.upper()])
        if size == (width, height):
            return picture
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        return picture.crop((left, top, left + width, top + height))

    def encode(self, array: NDArray[np.generic]) -> str:
        """A PNG `data:` URL of pixels (height, width, channels), 0..255. Raises as `to_pixels`."""
        return self.write_url(self.to_pixels(array))

    def to_pixels(self, array: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Pixels (height, width, channels), rounded and clipped to 0..255.

        Raises `InvalidInput` for another shape, or channels other than 1 and 3.
        """
        import numpy as np

        if array.ndim != 3 or array.shape[2] not in (1, 3):
            raise InvalidInput(
                f"The output {self.name!r} has shape {array.shape}, which is not a picture.",
                field=self.name,
                expected="(height, width, 1 or 3)",
                got=str(array.shape),
            )
        height, width, channels = array.shape
        pixels = np.empty((height, width, channels), np.uint8)
        for rows in _split_rows(height, width):
            strip = np.rint(array[rows].astype(np.float32, copy=False))
            pixels[rows] = np.clip(strip, 0, 255, out=strip)
        return pixels

    def write_url(self, pixels: NDArray[np.uint8]) -> str:
        """A PNG `data:` URL of what `to_pixels` returns, or of that with an alpha channel."""
        import base64

        return "data:image/png;base64," + base64.b64encode(PictureFormat().encode(pixels)).decode()

    def encode_png(self, array: NDArray[np.generic]) -> bytes:
        """A PNG file of pixels. Raises as `to_pixels`."""
        return PictureFormat().encode(self.to_pixels(array))

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
            "filter": self.resample,
            "fit": self.fit,
            "resize": self.resize,
        }

    def to_dict(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "kind": self.kind,
            "widget": self.widget,
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "resample": self.resample,
            "fit": self.fit,
            "resize": self.resize,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Image:
        return cls(
            name=text_at(record, "name"),
            height=None if record["height"] is None else integer_at(record, "height"),
            width=None if record["width"] is None else integer_at(record, "width"),
            channels=integer_at(record, "channels"),
            resample=text_at(record, "resample"),
            fit=text_at(record, "fit"),
            resize=optional_integer_at(record, "resize"),
        )


def _to_floats(picture: Picture, channels: int) -> NDArray[np.float32]:
    """The pixels as float32 (height, width, channels), without a second copy of all of them."""
    import numpy as np

    width, height = picture.size
    pixels = np.empty((height, width, channels), np.float32)
    for rows in _split_rows(height, width):
        strip = picture.crop((0, rows.start, width, rows.stop))
        pixels[rows] = np.asarray(strip).reshape(-1, width, channels)
    return pixels


def _split_rows(height: int, width: int) -> Iterator[slice]:
    """The rows of a picture in strips of about `STRIP_PIXELS`."""
    rows = max(1, STRIP_PIXELS // max(1, width))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def _scale_shorter(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """The size whose shorter side is `shorter`, and the longer one in proportion, rounded down."""
    low, high = min(size), max(size)
    longer = min(shorter * high // low, MAX_SIDE * MAX_SIDE // shorter)
    return (shorter, longer) if size[0] <= size[1] else (longer, shorter)
