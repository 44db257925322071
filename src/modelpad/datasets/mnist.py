"""MNIST from its four official IDX files, and any other data set kept in the same four files.

Finds the files, has missing ones downloaded, verifies and reads them. Knows nothing of HTTP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.catalogue import (
    MNIST,
    CatalogueEntry,
    RemoteFile,
    find_file,
    lookup_folders,
)
from modelpad.datasets.dataset import DataSet, Split
from modelpad.datasets.download import Progress, download_files
from modelpad.datasets.idx import parse_idx, read_content, read_idx
from modelpad.errors import DataSetInvalid

FILE_NAMES = tuple(file.name for file in MNIST.files)


def load_mnist(
    roots: Sequence[Path] = (),
    cache: Path | None = None,
    progress: Progress | None = None,
    entry: CatalogueEntry = MNIST,
) -> DataSet:
    """MNIST: 60,000 train and 10,000 test pictures, uint8 (N, 28, 28), white ink on black.

    Files missing from `roots` and `cache` are downloaded into the cache. Raises DataSetNotFound
    when they can be had nowhere, DataSetInvalid when one is truncated, damaged or not official.
    """
    folders = lookup_folders(entry.name, roots, cache)
    missing = [file for file in entry.files if find_file(file.name, folders) is None]
    if missing:
        download_files(entry, missing, cache, progress)
    arrays = [read_verified(file, folders) for file in entry.files]
    return DataSet(
        name=entry.name,
        title=entry.title,
        licence=entry.licence,
        source=entry.source,
        classes=tuple("0123456789"),
        train=join_split(arrays[0], arrays[1]),
        test=join_split(arrays[2], arrays[3]),
    )


def load_idx_folder(folder: Path) -> DataSet:
    """A data set of yours in four files named as MNIST's, for example Fashion-MNIST.

    The classes are the numbers from 0 to the largest label. Raises DataSetInvalid.
    """
    paths = [find_file(name, [folder]) for name in FILE_NAMES]
    for name, path in zip(FILE_NAMES, paths, strict=True):
        if path is None:
            raise DataSetInvalid(
                f"{folder} lacks {name}.",
                hint=f"Put that file beside the other IDX files: {', '.join(FILE_NAMES)}.",
                path=str(folder),
            )
    arrays = [read_idx(path) for path in paths if path is not None]
    train, test = join_split(*arrays[:2]), join_split(*arrays[2:])
    count = 1 + max((int(split.labels.max()) for split in (train, test) if len(split)), default=-1)
    if count < 2:
        raise DataSetInvalid(
            f"{folder} holds {count} class{'' if count == 1 else 'es'}.",
            hint="A classifier needs two classes at least.",
            path=str(folder),
        )
    return DataSet(
        name=folder.resolve().name,
        title=f"{folder.resolve().name} (IDX files)",
        licence="unknown",
        source=str(folder),
        classes=tuple(str(label) for label in range(count)),
        train=train,
        test=test,
    )


def holds_idx_files(folder: Path) -> bool:
    """Whether `folder` holds at least one file named as MNIST's are."""
    return any(find_file(name, [folder]) is not None for name in FILE_NAMES)


def read_verified(file: RemoteFile, folders: Sequence[Path]) -> NDArray[np.uint8]:
    """The array in `file`, found in `folders`, once its content is proved to be the official one.

    Raises DataSetInvalid: truncated and malformed files are told apart before the checksum is.
    """
    path = find_file(file.name, folders)
    if path is None:
        raise DataSetInvalid(
            f"{file.name} was there a moment ago and is gone.",
            hint="Another program may be cleaning that folder: try again.",
            path=str(folders[-1] / file.name),
        )
    content = read_content(path)
    array = parse_idx(content, path)
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise DataSetInvalid(
            f"{path} is damaged: its content is not the official one"
            f" (SHA-256 {found[:12]}..., expected {file.sha256[:12]}...).",
            hint="Delete it and run again to have it downloaded."
            " For data of your own in these files, give the path of its folder.",
            path=str(path),
            expected=file.sha256,
            got=found,
        )
    return array


def join_split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    """One split of pictures (N, H, W) and labels (N,). Raises DataSetInvalid on other shapes."""
    if images.ndim != 3 or labels.ndim != 1:
        raise DataSetInvalid(
            f"The pictures have shape {images.shape} and the labels {labels.shape},"
            " not (N, height, width) and (N,).",
            hint="Check that the files of pictures and labels are not exchanged.",
        )
    return Split(images, labels.astype(np.int64))
