"""Image files: limits, damage, and what is decoded ahead."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelpad.datasets import pictures
from modelpad.datasets.pictures import Resize, Unreadable, read_picture, read_pictures
from modelpad.fields import Image as ImageField


def test_an_image_over_the_limit_is_not_decoded(tmp_path: Path, write_image: Any) -> None:
    path = write_image(tmp_path / "a.png", (20, 16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "MAX_PIXELS", 319)
        assert read_picture(path) == Unreadable("20 x 16 pixels, over 319")
    assert isinstance(read_picture(path), np.ndarray)


@pytest.mark.parametrize("keep", [0, 1, 60])
def test_a_truncated_file_is_unreadable(tmp_path: Path, write_image: Any, keep: int) -> None:
    path = write_image(tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:keep])
    assert isinstance(read_picture(path), Unreadable)


def test_photographs_are_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    image.save(tmp_path / "a.jpg", exif=exif)
    turned = read_picture(tmp_path / "a.jpg")
    assert isinstance(turned, np.ndarray)
    assert turned.shape == (30, 20, 3)


def test_few_images_are_decoded_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    started = 0
    lock = threading.Lock()

    def count(*_: object) -> Unreadable:
        nonlocal started
        with lock:
            started += 1
        return Unreadable("counted")

    monkeypatch.setattr(pictures, "read_picture", count)
    results = read_pictures([Path("a.png")] * 1000)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert 1 <= started <= 2 * pictures.MAX_THREADS


def test_crop_keeps_the_proportions(tmp_path: Path) -> None:
    """The shorter side gets the size; the longer one is cut around the centre."""
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    cropped = read_picture(tmp_path / "wide.png", Resize(20, 20, fit="crop"))
    assert isinstance(cropped, np.ndarray)
    assert cropped.shape == (20, 20, 3)
    assert cropped[:, 1:-1].min() >= 250
    stretched = read_picture(tmp_path / "wide.png", Resize(20, 20))
    assert isinstance(stretched, np.ndarray)
    assert stretched[:, 0].max() == 0


def test_a_jpeg_is_resized_as_when_it_is_served(tmp_path: Path) -> None:
    """Decoding at a fraction of the size changes hardly anything."""
    random = np.random.default_rng(0).integers(0, 255, (12, 20, 3)).astype(np.uint8)
    Image.fromarray(random).resize((1000, 600), Image.Resampling.BICUBIC).save(
        tmp_path / "large.jpg", quality=95
    )
    field = ImageField(height=64, width=64, fit="crop", resample="bicubic")
    served = field.decode((tmp_path / "large.jpg").read_bytes())
    read = read_picture(tmp_path / "large.jpg", Resize(64, 64, "crop", "bicubic"))
    assert isinstance(read, np.ndarray)
    assert np.abs(read - served).mean() < 1.5
