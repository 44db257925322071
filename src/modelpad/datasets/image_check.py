"""Decodes every image of a data set once, and keeps small data sets in memory.

So a damaged file is found on loading, not in the middle of a training. Independent
of classes or splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.inputs import ImageFiles, Inputs
from modelpad.datasets.options import LoadOptions, OnUnreadable
from modelpad.datasets.pictures import Unreadable, read_pictures
from modelpad.datasets.progress import Progress, ProgressUpdate, ignore_progress
from modelpad.errors import DataSetInvalid

NAMED_FILES = 5


@dataclass(frozen=True, slots=True, eq=False)
class CheckedImages:
    """The images that can be read. `kept`: which of the files given they are, int64, ascending.

    `skipped` names the other files, each with the reason.
    """

    inputs: Inputs
    kept: NDArray[np.int64]
    skipped: tuple[str, ...]


def check_images(
    base: Path,
    files: Sequence[Path],
    options: LoadOptions,
    on_unreadable: OnUnreadable = "refuse",
    progress: Progress | None = None,
) -> CheckedImages:
    """The readable images among `files`, all of which lie below `base`.

    An array when all have one size and fit into `options.memory_bytes`, else ImageFiles. Raises
    DataSetInvalid when a file cannot be read, unless `on_unreadable` is "skip".
    """
    report = progress or ignore_progress
    memory = ImageMemory(options.memory_bytes)
    sizes: list[tuple[int, ...]] = []
    kept: list[int] = []
    skipped: list[str] = []
    colour = options.channels == 3
    results = read_pictures(files, options.resize, options.channels)
    for index, (path, result) in enumerate(zip(files, results, strict=True)):
        if isinstance(result, Unreadable):
            skipped.append(f"{path.relative_to(base)} ({result.reason})")
        else:
            kept.append(index)
            sizes.append(result.shape[:2])
            colour = colour or result.ndim == 3
            memory.add(result)
        done = index + 1
        report(ProgressUpdate("read", base.name, done, len(files), "images", done == len(files)))
    if skipped and on_unreadable == "refuse":
        raise refuse_unreadable(base, skipped, len(files))
    channels = 3 if colour else 1
    lazy = ImageFiles(
        tuple(files[index] for index in kept),
        np.array(sizes, np.int32).reshape(-1, 2),
        channels,
        options.resize,
    )
    array = memory.join(channels)
    inputs: Inputs = lazy if array is None else array
    return CheckedImages(inputs, np.array(kept, np.int64), tuple(skipped))


class ImageMemory:
    """Images of one size, as long as they fit into a number of bytes; then none."""

    def __init__(self, limit_bytes: int) -> None:
        self._images: list[NDArray[np.uint8]] | None = []
        self._left_bytes = limit_bytes

    def add(self, image: NDArray[np.uint8]) -> None:
        """Keeps an image, or drops all when it has another size or is one too many."""
        if self._images is None:
            return
        self._left_bytes -= image.shape[0] * image.shape[1] * 3
        if self._left_bytes < 0 or (self._images and self._images[0].shape[:2] != image.shape[:2]):
            self._images = None
        else:
            self._images.append(image)

    def join(self, channels: int) -> NDArray[np.uint8] | None:
        """All images as (N, H, W) or (N, H, W, 3); None when there is none or they were dropped."""
        if not self._images:
            return None
        height, width = self._images[0].shape[:2]
        shape = (len(self._images), height, width) + ((3,) if channels == 3 else ())
        joined = np.empty(shape, np.uint8)
        for place, image in enumerate(self._images):
            joined[place] = image if image.ndim == len(shape) - 1 else image[:, :, None]
        return joined


def refuse_unreadable(base: Path, unreadable: Sequence[str], total: int) -> DataSetInvalid:
    """The error that counts and names what cannot be read; to be raised by the caller."""
    named = "; ".join(unreadable[:NAMED_FILES])
    more = len(unreadable) - NAMED_FILES
    return DataSetInvalid(
        f"{len(unreadable):,} of {total:,} images in {base} cannot be read: {named}"
        + (f"; and {more:,} more." if more > 0 else "."),
        hint="Repair or delete them, or leave them out with on_unreadable='skip'"
        " (--skip-unreadable on the command line).",
        path=str(base),
        unreadable=tuple(unreadable),
    )
