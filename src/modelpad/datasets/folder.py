"""A data set from a folder of images in class sub-folders.

Independent of how the folder is laid out (see `class_folders`) or of how an image is decoded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.class_folders import Layout, describe_ignored, survey_folder
from modelpad.datasets.dataset import DataSet
from modelpad.datasets.image_check import check_images
from modelpad.datasets.options import LoadOptions, OnUnreadable
from modelpad.datasets.progress import Progress
from modelpad.datasets.split import Split
from modelpad.errors import DataSetInvalid


def load_folder(
    folder: Path,
    options: LoadOptions | None = None,
    on_unreadable: OnUnreadable = "refuse",
    progress: Progress | None = None,
) -> DataSet:
    """The images in `folder`, each with the class of its sub-folder.

    Raises DataSetInvalid: fewer than two classes, a class without images, or an image that cannot
    be read (unless skipped).
    """
    layout = survey_folder(folder)
    files = layout.files()
    checked = check_images(folder, files, options or LoadOptions(), on_unreadable, progress)
    labels = layout.labels()[checked.kept]
    train_count = int(np.count_nonzero(checked.kept < layout.train_count))
    require_every_class(folder, layout, labels[:train_count])
    names = tuple(str(files[index].relative_to(folder)) for index in checked.kept.tolist())
    train, test = Split(checked.inputs, labels, names).divide(train_count)
    name = folder.resolve().name
    return DataSet(
        name=name,
        title=f"{name} (images in class folders)",
        licence="unknown",
        source=str(folder),
        classes=layout.classes,
        train=train,
        test=test if layout.test is not None else None,
        skipped=checked.skipped,
        location=folder,
        files=tuple(files),
        notes=describe_ignored(layout.ignored),
    )


def require_every_class(folder: Path, layout: Layout, labels: NDArray[np.int64]) -> None:
    """Raises DataSetInvalid when skipping left a class without images to train on."""
    for label in sorted(set(range(len(layout.classes))) - set(labels.tolist())):
        class_folder = layout.train[label][0].parent
        raise DataSetInvalid(
            f"The class {layout.classes[label]!r} in {folder} holds no image that can be read.",
            hint=f"Put readable images into {class_folder}, or remove that folder.",
            path=str(class_folder),
        )
