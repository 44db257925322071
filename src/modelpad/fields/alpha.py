"""Transparency: models see pictures on white, and what they paint from them gets it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelpad.fields.picture import open_picture, picture_bytes, read_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

OPAQUE = 255
STRIP_PIXELS = 250_000  # converted at once


def on_white(picture: Picture) -> Picture:
    """A transparent picture on white, as RGB; any other one itself."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    drawn = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    paper = Image.new("RGBA", drawn.size, "white")
    return Image.alpha_composite(paper, drawn).convert("RGB")


def read_alpha(value: object, *, field: str) -> NDArray[np.uint8] | None:
    """The alpha channel (height, width) of a picture; None if it is opaque.

    `value` is what `read_picture` takes. Raises as it does; other values have no alpha.
    """
    import numpy as np
    from PIL import Image

    if isinstance(value, list):
        return None
    if not isinstance(value, Image.Image):
        value = picture_bytes(value, field=field)
        if not open_picture(value, field=field).has_transparency_data:
            return None  # without decoding it again
    picture = read_picture(value, field=field)
    if not picture.has_transparency_data:
        return None
    alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
    return None if alpha.min() == OPAQUE else alpha


def restore_alpha(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels (height, width, 1 or 3), painted on white, with an alpha channel (height, width).

    White shines through no more: on white, the result looks like `pixels` again.
    """
    import numpy as np

    height, width, channels = pixels.shape
    found = np.empty((height, width, channels + 1), np.uint8)
    found[..., channels] = alpha
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = slice(top, top + rows)
        share = np.maximum(alpha[strip, :, None], 1).astype(np.float32) / OPAQUE
        colours = OPAQUE - (OPAQUE - pixels[strip].astype(np.float32)) / share
        colours[alpha[strip] == 0] = OPAQUE
        found[strip, :, :channels] = np.rint(np.clip(colours, 0, OPAQUE, out=colours))
    return found
