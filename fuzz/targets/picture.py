"""Image files, as an image input, a sketch, and part of a data set."""

from __future__ import annotations

from contextlib import suppress

from fuzz.files import make_folder
from modelpad.datasets import Resize, pictures
from modelpad.errors import ModelpadError
from modelpad.fields import Image, Sketch
from modelpad.fields.alpha import read_transparent
from modelpad.fields.animation import read_animation
from modelpad.fields.picture import read_picture

DECODERS = (
    "modelpad.fields.picture",
    "modelpad.fields.alpha",
    "modelpad.fields.animation",
    "modelpad.fields.image",
    "modelpad.fields.sketch",
    "modelpad.fields.preparation",
    "modelpad.datasets.pictures",
)
MAX_PIXELS = 1 << 16  # larger pictures are slow and find nothing new
FIELDS = (Image("a", 8, 8, 3), Image("b", None, None, 1), Sketch("c"))
FILE = make_folder() / "picture"


def fuzz(data: bytes) -> None:
    """Decodes the file with every field, and its frames."""
    read_picture(data, field="image", max_pixels=MAX_PIXELS)
    for field in FIELDS:
        with suppress(ModelpadError):
            field.decode(data)
    read_transparent(data, field="image")
    with suppress(ModelpadError):
        animation = read_animation(data, field="image")
        if animation is not None and animation.size[0] * animation.size[1] < MAX_PIXELS:
            assert len([*animation.frames()]) == len(animation)
    FILE.write_bytes(data)
    for resize, channels in ((None, None), (Resize(8, 8), 1), (Resize(8, 8, "crop"), 3)):
        pictures.read_picture(FILE, resize, channels)
