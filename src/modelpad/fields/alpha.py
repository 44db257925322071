"""Transparency: most models see pictures on white; one that paints sees all colours.

What is painted gets the alpha of its original. If the model saw that on white, the white would be
painted too, and show as a rim around everything that fades out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelpad.fields.file_bytes import read_bytes
from modelpad.fields.picture import PICTURE, open_picture, read_picture, reduce_depth

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

OPAQUE = 255


def on_white(picture: Picture) -> Picture:
    """A transparent picture on white, as RGB; any other one itself."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    drawn = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    paper = Image.new("RGBA", drawn.size, "white")
    return Image.alpha_composite(paper, drawn).convert("RGB")


def read_transparent(value: object, *, field: str) -> Picture | None:
    """The picture in `value`, as RGBA, if it is transparent somewhere; else None.

    `value` is what `read_picture` takes. Raises as it does; a list of numbers is opaque.
    """
    from PIL import Image

    if isinstance(value, list):
        return None
    if not isinstance(value, Image.Image):
        value = read_bytes(value, PICTURE, field=field)
        if not open_picture(value, field=field).has_transparency_data:
            return None  # and its pixels need not be decoded
    picture = reduce_depth(read_picture(value, field=field))
    if not picture.has_transparency_data:
        return None
    drawn = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    lowest, _ = drawn.getchannel("A").getextrema()
    return drawn if isinstance(lowest, int) and lowest < OPAQUE else None


def uncover(picture: Picture) -> Picture:
    """The colours of an RGBA picture as if it were opaque; white where it shows none at all."""
    from PIL import Image

    shown = picture.getchannel("A").point(lambda alpha: OPAQUE * (alpha > 0))
    paper = Image.new("RGB", picture.size, "white")
    paper.paste(picture.convert("RGB"), mask=shown)
    return paper


def add_alpha(pixels: NDArray[np.uint8], original: Picture) -> NDArray[np.uint8]:
    """Pixels (height, width, 1 or 3) with the alpha of an RGBA picture of their size."""
    import numpy as np

    return np.dstack([pixels, np.asarray(original.getchannel("A"))])
