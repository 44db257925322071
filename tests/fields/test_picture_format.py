"""File formats of pictures: which one is meant, and what is written."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from modelpad.errors import InvalidInput
from modelpad.fields.picture_format import (
    MAX_SIDES,
    PictureFormat,
    name_format,
    negotiate,
    read_quality,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "gif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_has_the_pixels(name: str, channels: int) -> None:
    smooth = np.full((9, 12, channels), 77, np.uint8)
    picture = Image.open(io.BytesIO(PictureFormat(name).encode(smooth)))
    assert (picture.size, picture.format) == ((12, 9), name.upper())
    assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - 77).max() <= 2


def test_png_keeps_every_pixel() -> None:
    picture = Image.open(io.BytesIO(PictureFormat().encode(PIXELS)))
    assert np.array_equal(np.asarray(picture), PIXELS)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("image/png", "png"),
        ("image/*", "png"),
        ("IMAGE/JPEG", "jpeg"),
        ("image/png;q=0.1, image/webp", "webp"),
        ("image/png;q=0, image/webp;q=0.2", "webp"),
        ("image/png;q=x", None),
        ("application/json, image/png", None),
        ("application/json;q=0.5, image/png", "png"),
        ("text/html", None),
        ("*/*", None),
        (",;,", None),
    ],
)
def test_accept_names_the_preferred_format(accept: str, expected: str | None) -> None:
    assert negotiate(accept) == expected


def test_names_and_qualities_are_checked() -> None:
    assert [name_format(each) for each in ("jpg", "JPEG", "gif")] == ["jpeg", "jpeg", "gif"]
    with pytest.raises(InvalidInput, match="avif"):
        name_format("avif")
    assert read_quality("7") == 7
    for text in ("0", "101", "", "1e1", "-1", "９９９"):
        with pytest.raises(InvalidInput):
            read_quality(text)


@pytest.mark.parametrize(("name", "limit"), [*MAX_SIDES.items()])
def test_a_format_has_a_longest_side(name: str, limit: int) -> None:
    assert PictureFormat(name).encode(np.zeros((1, limit, 3), np.uint8))
    with pytest.raises(InvalidInput, match=f"{limit:,}"):
        PictureFormat(name).encode(np.zeros((1, limit + 1, 3), np.uint8))
