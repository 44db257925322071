"""What every data set is once loaded: pictures and their classes, in one or two splits.

Knows nothing of where the pictures come from or what is learned from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from modelpad.errors import DataSetInvalid


@dataclass(frozen=True, slots=True)
class Split:
    """Pictures and labels of equal length.

    `images`: uint8, (N, H, W) grey or (N, H, W, 3) RGB. `labels`: int64, (N,), indices into the
    classes of the data set. Raises DataSetInvalid when the two do not fit together.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DataSetInvalid(
                f"There are {len(self.images):,} pictures but {len(self.labels):,} labels.",
                hint="The two files do not belong together: take both from the same source.",
                images=len(self.images),
                labels=len(self.labels),
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one picture: (H, W) or (H, W, 3)."""
        return tuple(self.images.shape[1:])

    def take(self, indices: NDArray[np.int64]) -> Split:
        """The pictures and labels at `indices`, in that order."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, slots=True)
class DataSet:
    """A named set of labelled pictures.

    `skipped` names the files that were left out because they could not be read, each with the
    reason. `test` is None where the source has only one split.
    """

    name: str
    title: str
    licence: str
    source: str
    classes: tuple[str, ...]
    train: Split
    test: Split | None = None
    skipped: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for split in self.splits().values():
            if len(split) and not 0 <= split.labels.min() <= split.labels.max() < len(self.classes):
                raise DataSetInvalid(
                    f"{self.name} has labels from {split.labels.min()} to {split.labels.max()}"
                    f" but {len(self.classes)} classes.",
                    hint="The labels are damaged: get the data set again.",
                    path=self.name,
                )

    def splits(self) -> dict[str, Split]:
        """The splits there are, by name: always `train`, often `test`."""
        return {"train": self.train} | ({} if self.test is None else {"test": self.test})

    def count_classes(self, split: Split) -> dict[str, int]:
        """How many pictures of each class `split` holds, in the order of the classes."""
        counts = np.bincount(split.labels, minlength=len(self.classes))
        return dict(zip(self.classes, counts.tolist(), strict=True))
