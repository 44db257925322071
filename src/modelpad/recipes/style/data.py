"""Reads paintings and photographs from folders of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from modelpad.datasets.load import locate
from modelpad.datasets.pictures import Resize, Unreadable, read_picture, read_pictures
from modelpad.errors import DataSetInvalid
from modelpad.recipes.style.optimise import resize

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
MARGIN = 1.125  # of photographs around the crops
MAX_PHOTOS = 3_000  # kept in memory
MIN_PHOTOS = 4
MAX_PAINTINGS = 100
SEPARATORS = str.maketrans(dict.fromkeys(" :,{}", "-"))

Photos = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Paintings:
    """Paintings (3, h, w), each of its own size, 0..255, and their names."""

    names: tuple[str, ...]
    pictures: Sequence[torch.Tensor]


def find_pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and below, sorted. Raises `DataSetInvalid` if there are none."""
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise DataSetInvalid(
            f"There are no pictures in {folder}.",
            hint="Give a folder with PNG, JPEG or WebP files.",
            path=str(folder),
        )
    return found


def load_paintings(given: str, roots: Sequence[Path], short_side: int) -> Paintings:
    """The paintings in a folder, scaled in proportion to `short_side`; a file is one painting.

    Raises:
        DataSetNotFound: there is no such folder.
        DataSetInvalid: it has no pictures or too many, or one cannot be read.
    """
    path = locate(given, roots)
    files = [path] if path.is_file() else find_pictures(path)
    names = tuple(file.stem.lower().translate(SEPARATORS) for file in files)
    if len(files) > MAX_PAINTINGS or len(set(names)) != len(names):
        raise DataSetInvalid(
            f"{path} has {len(files):,} paintings with {len(set(names)):,} names.",
            hint=f"Give at most {MAX_PAINTINGS}, each with a name of its own.",
            path=str(path),
        )
    return Paintings(names, [read_painting(file, short_side) for file in files])


def read_painting(file: Path, short_side: int) -> torch.Tensor:
    """A picture (3, h, w), 0..255, scaled to `short_side`. Raises `DataSetInvalid`."""
    picture = read_picture_file(file)
    scale = short_side / min(picture.shape[2:])
    return resize(picture, [max(1, round(side * scale)) for side in picture.shape[2:]])[0]


def read_picture_file(file: Path) -> torch.Tensor:
    """A picture of any kind (1, 3, H, W), 0..255, upright, on white where it is transparent.

    Raises `DataSetInvalid` if it cannot be read.
    """
    pixels = read_picture(file, channels=3)
    if isinstance(pixels, Unreadable):
        raise DataSetInvalid(
            f"{file} cannot be read: {pixels.reason}.",
            hint="Give a PNG, JPEG or WebP file.",
            path=str(file),
        )
    return to_tensor(pixels)[None]


def load_photos(
    folder: Path, side: int, *, limit: int | None = None, skip_unreadable: bool = False
) -> tuple[Photos, int]:
    """Square photographs (N, S, S, 3), a little larger than `side`, and how many were skipped.

    At most `limit` of them, at regular intervals in the order of their names.

    Raises `DataSetInvalid` if one cannot be read, or if there are too few.
    """
    files = find_pictures(folder)
    count = min(len(files), MAX_PHOTOS, limit or MAX_PHOTOS)
    chosen = np.unique(np.linspace(0, len(files) - 1, count).astype(int))
    files = [files[index] for index in chosen]
    square = round(side * MARGIN)
    found, skipped = [], 0
    read = read_pictures(files, Resize(square, square, "crop", "lanczos"), channels=3)
    for file, pixels in zip(files, read, strict=True):
        if not isinstance(pixels, Unreadable):
            found.append(pixels)
        elif skip_unreadable:
            skipped += 1
        else:
            raise DataSetInvalid(
                f"{file} cannot be read: {pixels.reason}.",
                hint="Remove it, or skip such files: --skip-unreadable",
                path=str(file),
            )
    if len(found) < MIN_PHOTOS:
        raise DataSetInvalid(
            f"{folder} has {len(found)} photographs.",
            hint=f"Give at least {MIN_PHOTOS}; a thousand are better.",
            path=str(folder),
        )
    return np.stack(found), skipped


def to_tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Pixels (H, W, 3) as float32 (3, H, W)."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float()


def to_pixels(picture: torch.Tensor) -> NDArray[np.uint8]:
    """A picture (3, H, W), 0..255, as pixels (H, W, 3)."""
    rounded = picture.detach().clamp(0, 255).round().permute(1, 2, 0)
    pixels: NDArray[np.uint8] = rounded.to(torch.uint8).cpu().numpy()
    return pixels
