"""Pictures whose predictions people corrected, added to those that a model is trained on.

Only the half that is for training: the other half is what `modelpad promote` evaluates with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from modelpad.datasets import Split
from modelpad.datasets.inputs import ImageFiles, Inputs, join_inputs
from modelpad.datasets.pictures import Unreadable, read_picture
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
    Raises as `read_corrections`.
    """
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
        train = append(splits.train, files, labels, pictures)
        splits = replace(splits, train=train)
    return replace(splits, notes=(*splits.notes, note))


def append(train: Split, files: Sequence[Path], labels: Sequence[int], pictures: Pictures) -> Split:
    """A split with more pictures, each a group of its own where there are groups."""
    sizes = np.full((len(files), 2), pictures.side, np.int32)
    added: Inputs = ImageFiles(tuple(files), sizes, CHANNELS, pictures.resize)
    if isinstance(train.inputs, np.ndarray) and isinstance(added, ImageFiles):
        added = np.stack(list(added.read(range(len(files)))))
    groups = train.groups
    if groups is not None:
        first = int(groups.max(initial=-1)) + 1
        groups = np.concatenate([groups, np.arange(first, first + len(files))])
    names = (*train.names, *(f"correction {path.name}" for path in files)) if train.names else ()
    targets = np.concatenate([train.labels, np.array(labels, np.int64)])
    return Split(join_inputs(train.inputs, added), targets, names, groups)
