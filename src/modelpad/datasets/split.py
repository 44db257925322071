"""One split of a data set: inputs and targets of equal length, item by item or in batches.

Independent of where the items come from or what their targets mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.inputs import (
    ImageFiles,
    ImageInput,
    InputKind,
    Inputs,
    Texts,
    describe_inputs,
    join_inputs,
    slice_inputs,
    take_inputs,
)
from modelpad.errors import DataSetInvalid, TooLarge

MAX_BYTES = 8 << 30

Targets = NDArray[np.int64] | NDArray[np.bool_] | NDArray[np.float32]
Item = NDArray[np.uint8] | str


class Example(NamedTuple):
    """One item. `target`: int64 scalar, or (K,) bool or float32; see `Split.targets`."""

    input: Item
    target: NDArray[np.generic] | np.int64


class Batch(NamedTuple):
    """Several items. `inputs`: (B, H, W[, 3]) uint8 when all images have one size, else a list."""

    inputs: NDArray[np.uint8] | list[NDArray[np.uint8]] | list[str]
    targets: Targets


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Inputs and targets of equal length; a sequence of `Example`.

    `targets` by the task of the data set: int64 (N,), indices into its classes; bool (N, K), one
    column per class, when an item may have several; float32 (N, K), values to predict; float32
    (N, 0) when unlabelled. `names`: the file of each item, or () for items without files.
    `groups`: int64 (N,), equal for items that are not independent of each other, such as the
    pictures of one patient; None if all are. Raises DataSetInvalid when lengths differ.
    """

    inputs: Inputs
    targets: Targets
    names: tuple[str, ...] = ()
    groups: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        lengths = {len(each) for each in (self.names or None, self.groups) if each is not None}
        if lengths - {len(self.targets)}:
            raise DataSetInvalid(
                f"There are {len(self.targets):,} labels, but not as many names and groups.",
                hint="Give every item a name and a group, or none.",
            )
        if len(self.inputs) != len(self.targets):
            what = "texts" if isinstance(self.inputs, Texts) else "images"
            raise DataSetInvalid(
                f"There are {len(self.inputs):,} {what} but {len(self.targets):,} labels.",
                hint="The two files do not belong together: take both from the same source.",
                images=len(self.inputs),
                labels=len(self.targets),
            )

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Example:
        return Example(self.inputs[index], self.targets[index])

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    def batches(self, batch_size: int, order: NDArray[np.int64] | None = None) -> Iterator[Batch]:
        """All items in batches, the last one smaller; `order` (int64) instead of 0, 1, 2...

        Image files are decoded batch by batch.
        """
        order = np.arange(len(self)) if order is None else order
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            yield Batch(read_batch(self.inputs, chosen), self.targets[chosen])

    def take(self, indices: NDArray[np.int64]) -> Split:
        """The items at `indices`, in that order; decodes nothing."""
        return Split(
            take_inputs(self.inputs, indices),
            self.targets[indices],
            tuple(self.names[index] for index in indices.tolist()) if self.names else (),
            None if self.groups is None else self.groups[indices],
        )

    def divide(self, count: int) -> tuple[Split, Split]:
        """The first `count` items and the others; copies no image."""
        return self._slice(slice(count)), self._slice(slice(count, None))

    def _slice(self, part: slice) -> Split:
        groups = None if self.groups is None else self.groups[part]
        return Split(slice_inputs(self.inputs, part), self.targets[part], self.names[part], groups)

    def join(self, other: Split) -> Split:
        """The items of both, those of `other` last, with their names and groups.

        Items without a group become groups of their own; those without a name have an empty one.
        Raises DataSetInvalid for inputs of different kinds or sizes.
        """
        names = self.names or other.names
        groups: NDArray[np.int64] | None = None
        if self.groups is not None or other.groups is not None:
            own, others = (number_groups(each) for each in (self, other))
            groups = np.concatenate([own, others + own.max(initial=-1) + 1])
        return Split(
            join_inputs(self.inputs, other.inputs),
            np.concatenate([self.targets, other.targets]),
            tuple(name for each in (self, other) for name in each.names or ("",) * len(each))
            if names
            else (),
            groups,
        )

    @property
    def kind(self) -> InputKind:
        """What the inputs are."""
        return describe_inputs(self.inputs)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The targets of a classification, int64 (N,). Raises DataSetInvalid for other targets."""
        if self.targets.ndim != 1 or self.targets.dtype != np.int64:
            raise DataSetInvalid(
                "The items do not have exactly one class each.",
                hint="Use a data set with one label per item.",
            )
        return self.targets.astype(np.int64, copy=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of every image, (H, W) or (H, W, 3).

        Raises DataSetInvalid for texts and for images of several sizes.
        """
        kind = self.kind
        if not isinstance(kind, ImageInput):
            raise no_images()
        if kind.height is None or kind.width is None:
            raise several_sizes(self.inputs)
        size = (kind.height, kind.width)
        return (
            size if kind.channels == 1 and not is_array_4d(self.inputs) else (*size, kind.channels)
        )

    @property
    def images(self) -> NDArray[np.uint8]:
        """All images as one array, uint8 (N, H, W) or (N, H, W, 3).

        Image files are decoded anew on each access: call `in_memory` first to access it repeatedly.
        Raises DataSetInvalid as `shape` does, TooLarge above 8 GiB.
        """
        if isinstance(self.inputs, np.ndarray):
            return self.inputs
        shape = self.shape
        if not isinstance(self.inputs, ImageFiles):
            raise no_images()
        if len(self) * math.prod(shape) > MAX_BYTES:
            raise too_many(len(self), shape)
        images = np.empty((len(self), *shape), np.uint8)
        for place, image in enumerate(self.inputs.read(range(len(self)))):
            if image.shape != shape:
                raise changed_size(self.inputs.files[place])
            images[place] = image
        return images

    def in_memory(self) -> Split:
        """The same items with every image decoded once; raises as `images` does."""
        return replace(self, inputs=self.images) if isinstance(self.inputs, ImageFiles) else self


def read_batch(
    inputs: Inputs, chosen: NDArray[np.int64]
) -> NDArray[np.uint8] | list[NDArray[np.uint8]] | list[str]:
    """The inputs at `chosen`, as one array where their shapes are equal."""
    if isinstance(inputs, np.ndarray):
        return inputs[chosen]
    if isinstance(inputs, Texts):
        return list(inputs.take(chosen).items)
    images = list(inputs.read(chosen.tolist()))
    return np.stack(images) if inputs.common_size is not None else images


def number_groups(split: Split) -> NDArray[np.int64]:
    """The group of each item, from 0 on; its own where there are none."""
    if split.groups is None:
        return np.arange(len(split))
    return np.unique(split.groups, return_inverse=True)[1].reshape(-1).astype(np.int64)


def is_array_4d(inputs: Inputs) -> bool:
    """Whether grey images have a channel axis."""
    return isinstance(inputs, np.ndarray) and inputs.ndim == 4


def no_images() -> DataSetInvalid:
    """The error for texts where images are needed; to be raised by the caller."""
    return DataSetInvalid("The data set holds texts, not images.", hint="Use a data set of images.")


def several_sizes(inputs: Inputs) -> DataSetInvalid:
    """The error for images of several sizes where one is needed; to be raised by the caller."""
    if not isinstance(inputs, ImageFiles) or not len(inputs):
        return DataSetInvalid("The split holds no images.", hint="Use a data set with images.")
    sizes = np.unique(inputs.sizes, axis=0)
    areas = sizes.prod(axis=1, dtype=np.int64)
    low, high = sizes[areas.argmin()], sizes[areas.argmax()]
    folder = inputs.files[0].parent.parent
    return DataSetInvalid(
        f"The images in {folder} have {len(sizes):,} sizes,"
        f" from {low[1]}x{low[0]} to {high[1]}x{high[0]} pixels (width x height).",
        hint="Choose one size to resize them to, for example LoadOptions(resize=Resize(128, 128)).",
        path=str(folder),
    )


def changed_size(path: Path) -> DataSetInvalid:
    """The error for an image that was replaced after loading; to be raised by the caller."""
    return DataSetInvalid(
        f"{path} has another size than when the data set was loaded.",
        hint="Load the data set again.",
        path=str(path),
    )


def too_many(count: int, shape: tuple[int, ...]) -> TooLarge:
    """The error for images that would fill the memory; to be raised by the caller."""
    return TooLarge(
        f"{count:,} images of {' x '.join(map(str, shape))} take more than"
        f" {MAX_BYTES / 2**30:.0f} GiB of memory.",
        hint="Read them in batches, or choose a smaller size to resize them to.",
        limit=MAX_BYTES,
    )
