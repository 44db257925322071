"""A data set of labelled pictures, divided: to learn from, to choose by, to test by.

Validation comes out of the training split; an official test split is kept as it is.
"""

from __future__ import annotations

from collections.abc import Callable
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

TEST_SHARE = 0.2


Encode = Callable[[NDArray[np.int64]], NDArray[np.generic]]
"""Labels (N,) as a loss takes them, such as one-hot."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Images to learn from: `read` gets those at some indices, uint8 (B, H, W[, C]).

    `labels` is int64 (N,), `targets` the same as the loss takes them.
    """

    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    labels: NDArray[np.int64]
    targets: NDArray[np.generic]

    def take(self, indices: NDArray[np.int64]) -> Examples:
        """The examples at `indices`; reads none."""
        return Examples(
            lambda chosen: self.read(indices[chosen]), self.labels[indices], self.targets[indices]
        )


@dataclass(frozen=True, slots=True)
class ImageSplits:
    """The parts, and what the card says about them.

    `pool` is everything but an official test split; `sources` are the data sets that were used.
    A `sketch` is a drawing prepared as MNIST's were; it has no channel axis.
    """

    data: DataSet
    pool: Split
    train: Split
    validation: Split
    test: Split
    sketch: bool = False
    sources: tuple[DataRow, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def item_shape(self) -> tuple[int, ...]:
        """One item as the graph takes it: (28, 28) for a sketch, else (H, W, channels)."""
        shape = self.train.shape
        return shape if self.sketch or len(shape) == 3 else (*shape, 1)

    @property
    def field(self) -> Sketch | Image:
        """A drawing pad for sketches; a picture of the training's size for anything else."""
        if self.sketch:
            return Sketch("image", size=self.item_shape[0])
        height, width, channels = self.item_shape
        return Image("image", height, width, channels)

    def images(self, split: Split) -> NDArray[np.uint8]:
        """uint8 (N, *item_shape)."""
        return split.images.reshape(len(split), *self.item_shape)

    def examples(self, split: Split, encode: Encode) -> Examples:
        """A part to learn from; image files are read batch by batch."""

        def read(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
            return self.images(split.take(indices))

        return Examples(read, split.labels, encode(split.labels))

    def inputs(self, split: Split) -> NDArray[np.float32]:
        """float32 (N, *item_shape), 0..255."""
        return self.images(split).astype(np.float32)


def split_images(data: DataSet, run: Run, *, validation: float) -> ImageSplits:
    """Divides a data set with every class in proportion, by the run's seed and limit.

    `validation` is the share to choose by, unless that would be tiny. A fifth becomes the test
    split if there is none. Raises `DataSetInvalid` when a class has fewer than three pictures.
    """
    rng, limit = np.random.default_rng([run.seed, 1]), run.request.limit
    notes: list[str] = []
    train, test = data.train, data.test
    if data.skipped:
        notes.append(f"{len(data.skipped)} pictures could not be read and were left out.")
    if test is None:
        train, test = divide(train, TEST_SHARE, rng)
        notes.append("A fifth of the data, chosen at random, was kept aside as the test set.")
    train, held = divide(train, validation_share(len(train), validation), rng)
    return ImageSplits(
        data,
        pool=data.train,
        train=cut(train, limit),
        validation=cut(held, limit),
        test=cut(test, limit),
        sources=(describe_data(data),),
        notes=tuple(notes),
    )


def divide(split: Split, share: float, rng: np.random.Generator) -> tuple[Split, Split]:
    """The split without `share` of it, and that share, both with every class in proportion."""
    kept, held = hold_out(split.labels, share, rng)
    return split.take(kept), split.take(held)


def cut(split: Split, limit: int | None) -> Split:
    """The first `limit` items; all when it is None."""
    return split if limit is None else split.take(np.arange(min(limit, len(split))))


def join(first: Split, second: Split) -> Split:
    """Both, one after the other."""
    images = np.concatenate([first.images, second.images])
    return Split(images, np.concatenate([first.labels, second.labels]))


def prepare_split(split: Split) -> Split:
    """Every picture prepared as a sketch."""
    images = np.stack([prepare_sketch(Pillow.fromarray(image)) for image in split.images])
    return Split(images, split.labels)
