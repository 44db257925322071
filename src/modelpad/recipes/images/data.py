"""The pictures of the images recipe, all brought to one size, and the weights of their classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from modelpad.datasets import DataSet, ImageFiles, LoadOptions, Resize, Split, TextInput
from modelpad.datasets.split import Targets
from modelpad.errors import DataSetInvalid, UsageError
from modelpad.fields import Image
from modelpad.recipes.images import Switch
from modelpad.recipes.images.duplicates import separate_duplicates
from modelpad.training.findings import Findings
from modelpad.training.image_splits import ImageSplits, keep_undivided, split_images
from modelpad.training.run import Run
from modelpad.training.splits import FOLDS

RESAMPLE = "bicubic"  # as the pretrained weights were trained with
CHANNELS: Final = 3
MEMORY_BYTES = 1 << 30
VALIDATION_SHARE = 0.1
MIN_SIDE, MAX_SIDE, STEP = 32, 512, 32
UNBALANCED = 3.0
MIN_PICTURES = 2 * FOLDS


@dataclass(frozen=True, slots=True)
class Pictures:
    """A data set with pictures of `side` x `side` pixels, RGB, and what was found out about it."""

    data: DataSet
    side: int
    findings: Findings = field(default_factory=Findings)

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

    Duplicates are in one group; those on both sides of the data set's own splits are removed.

    Raises:
        UsageError: the size is out of range.
        DataSetInvalid: the data set holds no pictures, nothing to predict, or too little of it.
    """
    if size is not None and not MIN_SIDE <= size <= MAX_SIDE:
        raise UsageError(
            f"--size is {size}.", hint=f"Give {MIN_SIDE} to {MAX_SIDE} pixels; 224 is usual."
        )
    data = run.load_data(replace(load, memory_bytes=0, channels=CHANNELS))
    if isinstance(data.train.kind, TextInput):
        raise DataSetInvalid(
            f"{data.name} holds texts, and the recipe needs pictures.",
            hint="Name the column of picture files: --input-column NAME.",
            path=data.name,
        )
    if data.task == "unlabelled":
        raise DataSetInvalid(
            f"{data.name} has nothing to predict: no column is called label, labels or target.",
            hint="Name it: --target-column NAME, and --multi-label or --regression if it is that.",
            path=data.name,
        )
    for note in data.notes:
        run.print(note)
    require_enough(data)
    data, findings = separate_duplicates(data, run)
    require_different(data)
    side = size or choose_side(data.train, largest)
    resize = Pictures(data, side).resize
    test = None if data.test is None else resize_split(data.test, resize)
    data = replace(data, train=resize_split(data.train, resize), test=test)
    return Pictures(data, side, findings)


def require_enough(data: DataSet) -> None:
    """Raises DataSetInvalid for a class with fewer pictures than a cross-validation has folds."""
    if len(data.train) < MIN_PICTURES:
        raise DataSetInvalid(
            f"{data.name} has only {len(data.train)} picture{'s' * (len(data.train) != 1)} to"
            " train on.",
            hint=f"At least {MIN_PICTURES} are needed; from 50 of each class on, results are"
            " reliable.",
            path=data.name,
        )
    what = "label" if data.task == "multi-label" else "class"
    for name, count in data.count_classes(data.train).items():
        if count < FOLDS:
            raise DataSetInvalid(
                f"The {what} {name!r} has only {count} picture{'s' * (count != 1)}.",
                hint=f"Each {what} needs at least {FOLDS}; from 50 on, results are reliable.",
                path=data.name,
            )


def require_different(data: DataSet) -> None:
    """Raises DataSetInvalid for a class whose pictures are copies of fewer than five."""
    groups = data.train.groups
    if data.task != "classification" or groups is None:
        return
    for label, name in enumerate(data.classes):
        count = len(np.unique(groups[data.train.labels == label]))
        if count < FOLDS:
            raise DataSetInvalid(
                f"The class {name!r} has pictures of only {count} different things.",
                hint=f"At least {FOLDS} are needed: pictures that look the same, or are of one"
                " patient, count once.",
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
) -> Iterator[tuple[NDArray[np.uint8], Targets]]:
    """Pictures (B, H, W, C) and their targets, as `Split.batches`."""
    for images, targets in split.batches(size, order):
        assert isinstance(images, np.ndarray), "load_pictures gives all one size"
        yield images, targets


def fits_memory(split: Split, side: int) -> bool:
    """Whether all pictures of a split can be kept decoded."""
    return len(split) * side * side * CHANNELS <= MEMORY_BYTES


def weigh_classes(
    labels: NDArray[np.int64], classes: Sequence[str], switch: Switch
) -> NDArray[np.float32]:
    """A weight for each class (classes,): 1 if they are balanced, else higher for rare ones."""
    counts = np.maximum(1, np.bincount(labels, minlength=len(classes)))
    if switch == "no" or counts.max() < UNBALANCED * counts.min():
        return np.ones(len(classes), np.float32)
    weights: NDArray[np.float32] = (counts.sum() / (len(classes) * counts)).astype(np.float32)
    return weights
