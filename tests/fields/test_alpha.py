"""Transparency: white for most models, and kept by those that paint."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from modelpad.fields import Image as ImageField
from modelpad.fields.alpha import add_alpha, read_transparent, uncover
from modelpad.fields.picture_format import PictureFormat
from tests.picture_files import write_png

ALPHA = np.tile(np.arange(256, dtype=np.uint8), (8, 1))


def colours(channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (8, 256, channels)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_model_that_changes_nothing_gives_the_picture_back(channels: int) -> None:
    drawn = np.dstack([colours(channels), ALPHA])
    original = read_transparent(PictureFormat().encode(drawn), field="image")
    assert original is not None
    seen = np.asarray(uncover(original).convert("RGB" if channels == 3 else "L"))
    found = add_alpha(seen.reshape(8, 256, channels), original)
    assert np.array_equal(found[:, 1:], drawn[:, 1:])
    assert (found[:, 0, :channels] == 255).all()


@pytest.mark.parametrize("name", ["png", "webp", "gif"])
def test_a_file_has_its_alpha(name: str) -> None:
    body = PictureFormat(name).encode(np.dstack([colours(3), ALPHA]))
    found = read_transparent(body, field="image")
    assert found is not None
    expected = np.where(ALPHA < 128, 0, 255) if name == "gif" else ALPHA
    assert np.array_equal(np.asarray(found)[..., 3], expected)


def test_opaque_pictures_have_none() -> None:
    for mode in ("RGB", "RGBA", "L", "LA", "P"):
        file = io.BytesIO()
        Image.fromarray(colours(3)).convert(mode).save(file, "PNG")
        assert read_transparent(file.getvalue(), field="image") is None
    assert read_transparent([[0]], field="image") is None


def test_sixteen_bits_can_have_a_transparent_grey() -> None:
    body = write_png(2, 1, 16, 0, bytes([0, 1, 2, 200, 0]), clear=bytes([1, 2]))
    read_transparent(body, field="image")
    assert ImageField(height=None, width=None).decode(body).shape == (1, 2, 3)


def test_a_transparent_colour_is_white_for_models() -> None:
    """A PNG without an alpha channel that names one colour."""
    file = io.BytesIO()
    Image.new("RGB", (2, 2), (10, 20, 30)).save(file, "PNG", transparency=(10, 20, 30))
    assert (ImageField(height=None, width=None).decode(file.getvalue()) == 255).all()


@pytest.mark.parametrize("channels", [2, 4])
def test_files_of_pixels_with_alpha(channels: int) -> None:
    pixels = np.full((6, 8, channels), 40, np.uint8)
    pixels[..., -1] = 255
    pixels[:3, :, -1] = 0

    def encode(name: str) -> Image.Image:
        return Image.open(io.BytesIO(PictureFormat(name, 100).encode(pixels)))

    for name in ("png", "webp", "gif"):
        found = np.asarray(encode(name).convert("RGBA")).astype(int)
        assert np.array_equal(found[..., 3], pixels[..., -1])
        assert np.abs(found[3:, :, :3] - 40).max() <= 2
    flat = np.asarray(encode("jpeg").convert("L")).astype(int)
    assert flat[0].min() >= 250
    assert np.abs(flat[5] - 40).max() <= 5
