"""Pictures whose predictions people corrected, added to those that a model is trained on.

Only the half that is for training: the other half is what `modelpad promote` evaluates with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from modelpad.datasets import ImageFiles, Split
from modelpad.datasets.pictures import Unreadable, read_picture
from modelpad.errors import UsageError
from modelpad.feedback import read_corrections
from modelpad.recipes.images.data import CHANNELS, Pictures
from modelpad.training.image_splits import ImageSplits
from modelpad.training.run import Run

FOLDER = "corrections"


def add_corrections(
    splits: ImageSplits, pictures: Pictures, location: str, run: Run
) -> ImageSplits:
    """The splits with the corrections of the run's model, which a note counts.

    Those that are no picture, or of a class that the data does not have, are left out and counted.
    Raises as `read_corrections`, and UsageError for
    other data than a classification.
    """
    if splits.data.task != "classification":
        raise UsageError(
            "--feedback needs a model with one class for each picture.", hint="Leave it out."
        )
    run.begin()  # which empties the run's folder
    folder = run.folder / "scratch" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {name: number for number, name in enumerate(splits.data.classes)}
    files: list[Path] = []
    labels: list[int] = []
    count = 0
    for each in read_corrections(location, run.request.name):
        count += 1
        path = folder / each.id
        path.write_bytes(each.item)
        readable = not isinstance(read_picture(path, pictures.resize, CHANNELS), Unreadable)
        if each.label in numbers and readable:
            files.append(path)
            labels.append(numbers[each.label])
    note = f"{len(files):,} of {count:,} corrections were added to the training pictures."
    run.print(note)
    if files:
        added = make_split(files, labels, pictures)
        if isinstance(splits.train.inputs, np.ndarray):
            added = added.in_memory()
        splits = replace(splits, train=splits.train.join(added))
    return replace(splits, notes=(*splits.notes, note))


def make_split(files: Sequence[Path], labels: Sequence[int], pictures: Pictures) -> Split:
    """The corrections as a split, each with a name."""
    sizes = np.full((len(files), 2), pictures.side, np.int32)
    names = tuple(f"correction {path.name}" for path in files)
    inputs = ImageFiles(tuple(files), sizes, CHANNELS, pictures.resize)
    return Split(inputs, np.array(labels, np.int64), names)
