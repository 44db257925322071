"""Small data sets of generated images and tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteImage = Callable[..., Path]


@pytest.fixture
def write_image() -> WriteImage:
    """Writes an image of noise: path, (width, height), mode."""

    def write(path: Path, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
        seed = sum(map(ord, path.name))
        pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def class_folder(tmp_path: Path, write_image: WriteImage) -> Path:
    """`cat` and `dog`, four images of 20 x 16 each."""
    for name in ("cat", "dog"):
        for index in range(4):
            write_image(tmp_path / "animals" / name / f"{index}.png")
    return tmp_path / "animals"
