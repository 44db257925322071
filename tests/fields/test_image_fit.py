"""How an image field fits pictures of other sizes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from modelpad.errors import BundleInvalid
from modelpad.fields import Image, field_from_dict


def write_png(width: int, height: int) -> tuple[Pillow.Image, bytes]:
    rng = np.random.default_rng(4)
    picture = Pillow.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return picture, file.getvalue()


def test_crop_scales_the_shorter_side_and_cuts_out_the_centre() -> None:
    picture, body = write_png(50, 33)
    field = Image("image", 20, 20, resample="bicubic", fit="crop", resize=24)
    resized = picture.resize((36, 24), Pillow.Resampling.BICUBIC)  # 24 * 50 / 33 = 36.4
    expected = np.asarray(resized.crop((8, 2, 28, 22)), np.float32)
    np.testing.assert_array_equal(field.decode(body), expected)


def test_stretch_may_cut_off_a_margin() -> None:
    picture, body = write_png(50, 33)
    field = Image("image", 20, 18, resample="lanczos", resize=24)
    resized = picture.resize((24, 24), Pillow.Resampling.LANCZOS)
    expected = np.asarray(resized.crop((3, 2, 21, 22)), np.float32)
    np.testing.assert_array_equal(field.decode(body), expected)


def test_a_narrow_picture_takes_no_unbounded_memory() -> None:
    _, body = write_png(1, 20_000)
    decoded = Image("image", 224, 224, fit="crop").decode(body)
    assert decoded.shape == (224, 224, 3)


def test_the_parameters_are_kept_and_checked() -> None:
    field = Image("image", 20, 20, resample="nearest", fit="crop", resize=24)
    record = field.to_dict()
    assert field_from_dict(record) == field
    for wrong in ({"resample": "sinc"}, {"fit": "pad"}, {"resize": 10}, {"resize": 10**9}):
        with pytest.raises(BundleInvalid):
            field_from_dict({**record, **wrong})
