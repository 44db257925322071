"""Training, validation and test splits of a labelled image data set.

The validation split is taken from the training split; an official test split is kept unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from modelpad.datasets import DataSet, Split
from modelpad.fields import Image, Sketch
from modelpad.fields.preparation import prepare_sketch
from modelpad.training.card import DataRow, describe_data
from modelpad.training.run import Run
from modelpad.training.splits import hold_out, validation_share
from modelpad.training.strata import sample_evenly, stratify

TEST_SHARE = 0.2


Encode = Callable[[NDArray[np.int64]], NDArray[np.generic]]
"""Converts labels (N,) to what a loss expects, such as one-hot."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Training examples: `read` returns the images at given indices, uint8 (B, H, W[, C]).

    `labels` is int64 (N,); `targets` holds the labels as the loss expects them. `groups`, int64
    (N,) or None, are those of the split.
    """

    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    labels: NDArray[np.int64]
    targets: NDArray[np.generic]
    groups: NDArray[np.int64] | None = None

    def take(self, indices: NDArray[np.int64]) -> Examples:
        """The examples at `indices`; no image is read."""
        groups = None if self.groups is None else self.groups[indices]
        return Examples(
            lambda chosen: self.read(indices[chosen]),
            self.labels[indices],
            self.targets[indices],
            groups,
        )


@dataclass(frozen=True, slots=True)
class ImageSplits:
    """The splits, and what the card says about them.

    `sources` are the data sets used. If `sketch`, images are drawings prepared as in MNIST, without
    a channel axis.
    """

    data: DataSet
    train: Split
    validation: Split
    test: Split
    sketch: bool = False
    sources: tuple[DataRow, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def item_shape(self) -> tuple[int, ...]:
        """The shape of one model input: (28, 28) for a sketch, else (H, W, channels)."""
        shape = self.train.shape
        return shape if self.sketch or len(shape) == 3 else (*shape, 1)

    @property
    def field(self) -> Sketch | Image:
        """A drawing pad for sketches, otherwise an image of the training images' size."""
        if self.sketch:
            return Sketch("image", size=self.item_shape[0])
        height, width, channels = self.item_shape
        return Image("image", height, width, channels)

    def images(self, split: Split) -> NDArray[np.uint8]:
        """uint8 (N, *item_shape)."""
        return split.images.reshape(len(split), *self.item_shape)

    def examples(self, split: Split, encode: Encode) -> Examples:
        """A split as training examples; image files are read batch by batch."""

        def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
            return self.images(split.take(indices))

        return Examples(read, split.labels, encode(split.labels), split.groups)

    def inputs(self, split: Split) -> NDArray[np.float32]:
        """float32 (N, *item_shape), 0..255."""
        return self.images(split).astype(np.float32)


def split_images(data: DataSet, run: Run, *, validation: float) -> ImageSplits:
    """Stratified splits of a data set, by the run's seed and limit.

    `validation` is the validation share, raised if the split would be tiny. Without a test split, a
    fifth of the data is held out. Raises `DataSetInvalid` for a class with fewer than three images.
    """
    rng = np.random.default_rng([run.seed, 1])
    notes = describe_reading(data)
    train, test = data.train, data.test
    if test is None:
        train, test = divide(train, TEST_SHARE, rng, data.classes)
        notes.append("A fifth of the data, chosen at random, was held out as the test set.")
    train, held_out = divide(train, validation_share(len(train), validation), rng, data.classes)
    return make_splits(data, (train, held_out, test), run, notes)


def keep_undivided(data: DataSet, run: Run) -> ImageSplits:
    """All items for training, but for a test split that the data set has; none for validation."""
    none = data.train.take(np.arange(0))
    return make_splits(data, (data.train, none, data.test or none), run, describe_reading(data))


def make_splits(
    data: DataSet, parts: tuple[Split, Split, Split], run: Run, notes: Sequence[str]
) -> ImageSplits:
    """Training, validation and test `parts`, each limited as the run's request says."""
    train, validation, test = (truncate(part, run.request.limit, run.seed) for part in parts)
    return ImageSplits(
        data, train, validation, test, sources=(describe_data(data),), notes=tuple(notes)
    )


def describe_reading(data: DataSet) -> list[str]:
    """What the card says about items that were left out."""
    skipped = f"{len(data.skipped)} images could not be read and were skipped."
    return [*data.notes, skipped] if data.skipped else [*data.notes]


def divide(
    split: Split, share: float, rng: np.random.Generator, classes: Sequence[str]
) -> tuple[Split, Split]:
    """Splits off a stratified `share`, without dividing a group: (remainder, share)."""
    names = classes if split.targets.ndim == 1 else ()
    kept, held_out = hold_out(stratify(split), share, rng, split.groups, names)
    return split.take(kept), split.take(held_out)


def truncate(split: Split, limit: int | None, seed: int) -> Split:
    """At most `limit` items, chosen at random by `seed`; of each class about its share."""
    if limit is None or limit >= len(split):
        return split
    return split.take(sample_evenly(stratify(split), limit, np.random.default_rng([seed, 2])))


def prepare_split(split: Split) -> Split:
    """A split with every image prepared as a sketch."""
    images = np.stack([prepare_sketch(Pillow.fromarray(image)) for image in split.images])
    return Split(images, split.labels)
