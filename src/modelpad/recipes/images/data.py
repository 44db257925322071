"""The pictures of the images recipe, all brought to one size, and the weights of their classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from modelpad.datasets import DataSet, ImageFiles, LoadOptions, Resize, Split
from modelpad.errors import DataSetInvalid, UsageError
from modelpad.fields import Image
from modelpad.recipes.images import Switch
from modelpad.training.image_splits import ImageSplits, keep_undivided, split_images
from modelpad.training.run import Run
from modelpad.training.splits import FOLDS

RESAMPLE = "bicubic"  # as the pretrained weights were trained with
CHANNELS: Final = 3
MEMORY_BYTES = 1 << 30
VALIDATION_SHARE = 0.1
MIN_SIDE, MAX_SIDE, STEP = 32, 512, 32
UNBALANCED = 3.0


@dataclass(frozen=True, slots=True)
class Pictures:
    """A classification data set with pictures of `side` x `side` pixels, RGB."""

    data: DataSet
    side: int

    @property
    def resize(self) -> Resize:
        """How any picture gets this size."""
        return Resize(self.side, self.side, "crop", RESAMPLE)

    @property
    def field(self) -> Image:
        """The field that brings any picture to this size in the same way."""
        return Image("image", self.side, self.side, CHANNELS, RESAMPLE, "crop")


def load_pictures(run: Run, size: int | None, largest: int, load: LoadOptions) -> Pictures:
    """The run's data set, at `size` pixels, by default that of the pictures, at most `largest`.

    Raises:
        UsageError: the size is out of range.
        DataSetInvalid: the data set holds no pictures, or not one class for each.
    """
    if size is not None and not MIN_SIDE <= size <= MAX_SIDE:
        raise UsageError(
            f"--size is {size}.", hint=f"Give {MIN_SIDE} to {MAX_SIDE} pixels; 224 is usual."
        )
    data = run.load_data(replace(load, memory_bytes=0, channels=CHANNELS))
    if data.task != "classification":
        raise DataSetInvalid(
            f"{data.name} has {data.task} targets; the images recipe predicts one class each.",
            hint="Use a folder with one sub-folder of pictures for each class.",
            path=data.name,
        )
    require_enough(data)
    side = size or choose_side(data.train, largest)
    resize = Pictures(data, side).resize
    test = None if data.test is None else resize_split(data.test, resize)
    return Pictures(replace(data, train=resize_split(data.train, resize), test=test), side)


def require_enough(data: DataSet) -> None:
    """Raises DataSetInvalid for a class with fewer pictures than a cross-validation has folds."""
    for name, count in data.count_classes(data.train).items():
        if count < FOLDS:
            raise DataSetInvalid(
                f"The class {name!r} has only {count} picture{'s' * (count != 1)}.",
                hint=f"Each class needs at least {FOLDS}; from 50 on, results are reliable.",
                path=data.name,
            )


def choose_side(split: Split, largest: int) -> int:
    """The median of the pictures' shorter sides, as a multiple of 32, at most `largest`."""
    inputs = split.inputs
    if isinstance(inputs, ImageFiles):
        shorter = float(np.median(inputs.sizes.min(axis=1)))
    else:
        shorter = float(min(split.shape[:2]))
    return int(np.clip(round(shorter / STEP) * STEP, 2 * MIN_SIDE, largest))


def resize_split(split: Split, resize: Resize) -> Split:
    """The pictures in another size, in memory if they fit into a gigabyte; else read when needed.

    A split of files keeps its files' names.
    """
    if isinstance(split.inputs, ImageFiles):
        sizes = np.full_like(split.inputs.sizes, (resize.height, resize.width))
        files = replace(split.inputs, resize=resize, sizes=sizes, channels=CHANNELS)
        return replace(split, inputs=files)
    images = [Pillow.fromarray(image).convert("RGB") for image in split.images]
    return replace(split, inputs=np.stack([np.asarray(resize.apply(image)) for image in images]))


def split_pictures(pictures: Pictures, run: Run, *, divide: bool) -> ImageSplits:
    """Training, validation and test splits.

    Without `divide` all pictures are for training, but for a test split that the data set has.
    """
    data = pictures.data
    if divide:
        splits = split_images(data, run, validation=VALIDATION_SHARE)
    else:
        splits = keep_undivided(data, run)
    train, validation = (
        split.in_memory() if fits_memory(split, pictures.side) and len(split) else split
        for split in (splits.train, splits.validation)
    )
    return replace(splits, train=train, validation=validation)


def read_batches(
    split: Split, size: int, order: NDArray[np.int64] | None = None
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Pictures (B, H, W, C) and labels (B,), as `Split.batches`."""
    for images, targets in split.batches(size, order):
        assert isinstance(images, np.ndarray), "load_pictures gives all one size"
        yield images, targets.astype(np.int64, copy=False)


def fits_memory(split: Split, side: int) -> bool:
    """Whether all pictures of a split can be kept decoded."""
    return len(split) * side * side * CHANNELS <= MEMORY_BYTES


def weigh_classes(
    labels: NDArray[np.int64], classes: Sequence[str], switch: Switch
) -> NDArray[np.float32]:
    """A weight for each class (classes,): 1 if they are balanced, else higher for rare ones."""
    counts = np.bincount(labels, minlength=len(classes))
    if switch == "no" or counts.max() < UNBALANCED * counts.min():
        return np.ones(len(classes), np.float32)
    weights: NDArray[np.float32] = (counts.sum() / (len(classes) * counts)).astype(np.float32)
    return weights
