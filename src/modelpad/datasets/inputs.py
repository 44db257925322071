"""The inputs of a split: images in memory, image files that are decoded on access, or texts.

All three are sequences with `take`. Independent of targets or of where the files come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.pictures import Resize, Unreadable, read_picture, read_pictures
from modelpad.errors import DataSetInvalid


@dataclass(frozen=True, slots=True)
class ImageInput:
    """Images, uint8: (height, width) with one channel, (height, width, 3) with three.

    `height` and `width` are None when they vary from item to item.
    """

    height: int | None
    width: int | None
    channels: int


@dataclass(frozen=True, slots=True)
class TextInput:
    """Texts, str."""


InputKind = ImageInput | TextInput


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts in memory."""

    items: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> str:
        return self.items[index]

    def take(self, indices: NDArray[np.int64]) -> Texts:
        """The texts at `indices`, in that order."""
        return Texts(tuple(self.items[index] for index in indices.tolist()))


@dataclass(frozen=True, slots=True, eq=False)
class ImageFiles:
    """Image files that are decoded each time they are accessed; only their names are in memory.

    `sizes`: int32 (N, 2), the height and width of each image as it is returned. `channels`: 1 or 3.
    An image that can no longer be read raises DataSetInvalid.
    """

    files: tuple[Path, ...]
    sizes: NDArray[np.int32]
    channels: int
    resize: Resize | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        path = self.files[index]
        return check_readable(path, read_picture(path, self.resize, self.channels))

    def read(self, indices: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """The images at `indices`, decoded in a few threads; only a few are in memory at a time."""
        files = [self.files[index] for index in indices]
        results = read_pictures(files, self.resize, self.channels)
        for path, result in zip(files, results, strict=True):
            yield check_readable(path, result)

    def take(self, indices: NDArray[np.int64]) -> ImageFiles:
        """The files at `indices`, in that order; decodes nothing."""
        files = tuple(self.files[index] for index in indices.tolist())
        return ImageFiles(files, self.sizes[indices], self.channels, self.resize)

    @property
    def common_size(self) -> tuple[int, int] | None:
        """(height, width) of every image; None when they differ or there is none."""
        if not len(self) or (self.sizes != self.sizes[0]).any():
            return None
        height, width = self.sizes[0].tolist()
        return height, width


Inputs = NDArray[np.uint8] | ImageFiles | Texts
"""An array of images (N, H, W) or (N, H, W, 3), image files, or texts."""


def take_inputs(inputs: Inputs, indices: NDArray[np.int64]) -> Inputs:
    """The inputs at `indices`, in that order, of the same kind."""
    return inputs[indices] if isinstance(inputs, np.ndarray) else inputs.take(indices)


def slice_inputs(inputs: Inputs, part: slice) -> Inputs:
    """A contiguous part of the inputs; copies no image."""
    if isinstance(inputs, np.ndarray):
        return inputs[part]
    if isinstance(inputs, Texts):
        return Texts(inputs.items[part])
    return ImageFiles(inputs.files[part], inputs.sizes[part], inputs.channels, inputs.resize)


def join_inputs(first: Inputs, second: Inputs) -> Inputs:
    """Two inputs of one kind, one after the other. Raises DataSetInvalid for different kinds."""
    if isinstance(first, Texts) and isinstance(second, Texts):
        return Texts((*first.items, *second.items))
    if isinstance(first, ImageFiles) and isinstance(second, ImageFiles):
        sizes = np.concatenate([first.sizes, second.sizes])
        channels = max(first.channels, second.channels)
        return ImageFiles((*first.files, *second.files), sizes, channels, first.size)
    if (
        isinstance(first, np.ndarray)
        and isinstance(second, np.ndarray)
        and first.shape[1:] == second.shape[1:]
    ):
        return np.concatenate([first, second])
    raise DataSetInvalid(
        "The two splits hold inputs of different kinds or sizes.",
        hint="Load both with the same options.",
    )


def describe_inputs(inputs: Inputs) -> InputKind:
    """What kind of inputs these are."""
    if isinstance(inputs, Texts):
        return TextInput()
    if isinstance(inputs, np.ndarray):
        channels = inputs.shape[3] if inputs.ndim == 4 else 1
        return ImageInput(inputs.shape[1], inputs.shape[2], channels)
    height, width = inputs.common_size or (None, None)
    return ImageInput(height, width, inputs.channels)


def check_readable(path: Path, result: NDArray[np.uint8] | Unreadable) -> NDArray[np.uint8]:
    """The image, or DataSetInvalid that names the file."""
    if isinstance(result, Unreadable):
        raise DataSetInvalid(
            f"{path} could be read when the data set was loaded but no longer can:"
            f" {result.reason}.",
            hint="Restore the file, or load the data set again.",
            path=str(path),
        )
    return result
