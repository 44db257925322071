"""Colour profiles: what is read is sRGB."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from modelpad.fields.colour_profile import to_srgb
from modelpad.fields.picture import read_picture
from tests.picture_files import make_profile

XYZ = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def write(mode: str, form: str, profile: bytes) -> bytes:
    picture = Image.new("RGBA", (4, 3), (220, 40, 90, 128))
    file = io.BytesIO()
    picture.convert(mode).save(file, form, icc_profile=profile)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "form"),
    [("RGB", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("RGBA", "WEBP")],
)
def test_colours_are_converted(mode: str, form: str) -> None:
    found = read_picture(write(mode, form, make_profile()), field="image")
    red, green, _ = np.asarray(found.convert("RGB"))[0, 0].astype(int)
    assert green > 180 > red
    assert found.mode in ("RGB", "RGBA")
    if mode == "RGBA":
        assert found.getchannel("A").getextrema() == (128, 128)


def test_srgb_is_left_alone() -> None:
    picture = Image.open(io.BytesIO(write("RGB", "PNG", SRGB)))
    assert to_srgb(picture) is picture


@pytest.mark.parametrize("profile", [b"nonsense", SRGB[:200], XYZ, b"\0" * 500])
def test_a_profile_that_does_not_fit_is_ignored(profile: bytes) -> None:
    for mode in ("RGB", "L", "CMYK", "I;16"):
        picture = Image.new(mode, (2, 2))
        picture.info["icc_profile"] = profile
        assert to_srgb(picture).size == (2, 2)
