"""MNIST from its four official IDX files, and any other data set in files of the same names.

Finds, downloads, verifies and reads them. Independent of HTTP.
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
from modelpad.datasets.dataset import DataSet
from modelpad.datasets.download import download_files
from modelpad.datasets.idx import parse_idx, read_content, read_idx
from modelpad.datasets.progress import Progress
from modelpad.datasets.split import Split
from modelpad.errors import DataSetInvalid

FILE_NAMES = tuple(file.name for file in MNIST.files)


def load_mnist(
    roots: Sequence[Path] = (),
    cache: Path | None = None,
    progress: Progress | None = None,
    entry: CatalogueEntry = MNIST,
) -> DataSet:
    """MNIST: 60,000 train and 10,000 test images, uint8 (N, 28, 28), white ink on black.

    Files missing from `roots` and `cache` are downloaded into the cache. Raises DataSetNotFound
    when that fails, DataSetInvalid when a file is truncated, damaged or not the official one.
    """
    folders = lookup_folders(entry.name, roots, cache)
    missing = [file for file in entry.files if find_file(file.name, folders) is None]
    if missing:
        download_files(entry, missing, cache, progress)
    paths = [require_file(file.name, folders) for file in entry.files]
    arrays = [read_verified(*pair) for pair in zip(paths, entry.files, strict=True)]
    return DataSet(
        name=entry.name,
        title=entry.title,
        licence=entry.licence,
        source=entry.source,
        classes=tuple("0123456789"),
        train=join_split(arrays[0], arrays[1]),
        test=join_split(arrays[2], arrays[3]),
        location=paths[0].parent,
        files=tuple(paths),
        verified=True,
    )


def load_idx_folder(folder: Path) -> DataSet:
    """Any data set in four files named as MNIST's, for example Fashion-MNIST.

    The classes are the numbers from 0 to the largest label. Raises DataSetInvalid.
    """
    paths: list[Path] = []
    for name in FILE_NAMES:
        path = find_file(name, [folder])
        if path is None:
            raise DataSetInvalid(
                f"{folder} lacks {name}.",
                hint=f"Put that file next to the other IDX files: {', '.join(FILE_NAMES)}.",
                path=str(folder),
            )
        paths.append(path)
    arrays = [read_idx(path) for path in paths]
    train, test = join_split(*arrays[:2]), join_split(*arrays[2:])
    count = 1 + max((int(split.labels.max()) for split in (train, test) if len(split)), default=-1)
    if count < 2:
        raise DataSetInvalid(
            f"{folder} holds {count} class{'' if count == 1 else 'es'}.",
            hint="A classifier needs at least two classes.",
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
        location=folder,
        files=tuple(paths),
    )


def holds_idx_files(folder: Path) -> bool:
    """Whether `folder` holds at least one file named as MNIST's are."""
    return any(find_file(name, [folder]) is not None for name in FILE_NAMES)


def require_file(name: str, folders: Sequence[Path]) -> Path:
    """The first file called `name` in `folders`. Raises DataSetInvalid when it disappeared."""
    path = find_file(name, folders)
    if path is None:
        raise DataSetInvalid(
            f"{name} was deleted while it was about to be read.",
            hint="Another program may be cleaning that folder: try again.",
            path=str(folders[-1] / name),
        )
    return path


def read_verified(path: Path, file: RemoteFile) -> NDArray[np.uint8]:
    """The array in `path` after checking that its content is the official one.

    Raises DataSetInvalid; truncated and malformed files are recognised before the checksum is
    compared.
    """
    content = read_content(path)
    array = parse_idx(content, path)
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise DataSetInvalid(
            f"{path} is damaged: its content is not the official one"
            f" (SHA-256 {found[:12]}..., expected {file.sha256[:12]}...).",
            hint="Delete it and run again to download it."
            " To use other data in files of these names, give the path of their folder.",
            path=str(path),
            expected=file.sha256,
            got=found,
        )
    return array


def join_split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    """One split of images (N, H, W) and labels (N,). Raises DataSetInvalid on other shapes."""
    if images.ndim != 3 or labels.ndim != 1:
        raise DataSetInvalid(
            f"The images have shape {images.shape} and the labels {labels.shape},"
            " not (N, height, width) and (N,).",
            hint="Check that the files of images and labels are not swapped.",
        )
    return Split(images, labels.astype(np.int64))
