"""Image files: limits, damage, and what is decoded ahead."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelpad.datasets import pictures
from modelpad.datasets.pictures import Unreadable, read_picture, read_pictures


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
