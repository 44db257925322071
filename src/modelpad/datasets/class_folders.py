"""Lists the files of a folder of class sub-folders, optionally under `train/` and `test/`.

Classes are the names of the sub-folders; files are sorted by name, so the same folder always gives
the same data set. Opens no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelpad.errors import DataSetInvalid

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
)
TEST_NAMES = ("test", "testing", "val", "valid", "validation")
NAMED_CLASSES = 5


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a folder by class: `train[k]` and `test[k]` are those of `classes[k]`.

    `ignored` are other files and folders in the folders of classes.
    """

    classes: tuple[str, ...]
    train: tuple[tuple[Path, ...], ...]
    test: tuple[tuple[Path, ...], ...] | None
    ignored: tuple[Path, ...] = ()

    def files(self) -> list[Path]:
        """All files, train before test, class by class."""
        return [path for split in (self.train, self.test or ()) for of in split for path in of]

    def labels(self) -> NDArray[np.int64]:
        """The index of the class of each file, int64, in the order of `files`."""
        counts = [len(of) for split in (self.train, self.test or ()) for of in split]
        numbers = np.arange(len(self.classes))
        return np.repeat(np.tile(numbers, 1 if self.test is None else 2), counts)

    @property
    def train_count(self) -> int:
        """How many of `files` are in train."""
        return sum(map(len, self.train))


def survey_folder(folder: Path) -> Layout:
    """The classes and files of `folder`; opens no file.

    `train/` (and one of `test/`, `val/`...) are splits when every sub-folder is named as a split.
    Classes are sorted by name, as numbers when all are. Raises DataSetInvalid: fewer than two
    classes, a class without images in train, a class in test that train does not have.
    """
    below = {child.name.lower(): child for child in list_folders(folder)}
    test_name = next((name for name in TEST_NAMES if name in below), None)
    if "train" in below and below.keys() <= {"train", *TEST_NAMES}:
        train_folder, test_folder = below["train"], below[test_name] if test_name else None
    else:
        train_folder, test_folder = folder, None
    classes = name_classes(train_folder)
    train = tuple(list_images(train_folder / name) for name in classes)
    for name, files in zip(classes, train, strict=True):
        if not files:
            raise DataSetInvalid(
                f"The class {name!r} in {train_folder} holds no image.",
                hint=f"Put images directly into {train_folder / name}, not into folders in it, or"
                " remove that folder."
                f" Supported files: {', '.join(sorted(SUFFIXES))}.",
                path=str(train_folder / name),
            )
    ignored = list_others([train_folder / name for name in classes])
    if test_folder is None:
        return Layout(classes, train, None, ignored)
    check_test_classes(test_folder, classes)
    folders = [test_folder / name for name in classes]
    test = tuple(list_images(each) for each in folders)
    return Layout(classes, train, test, (*ignored, *list_others(folders)))


def name_classes(folder: Path) -> tuple[str, ...]:
    """The class names in `folder`, at least two, sorted. Raises DataSetInvalid."""
    names = [child.name for child in list_folders(folder)]
    if len(names) < 2:
        loose = len(list_images(folder))
        found = "no class sub-folder" if not names else f"only one class, {names[0]!r}"
        raise DataSetInvalid(
            f"{folder} holds {found}"
            + (f" ({loose:,} images lie directly in it)." * bool(loose) or "."),
            hint="Put the images of each class into a sub-folder with the name of the class:"
            " at least two of them, directly or under train/ and test/.",
            path=str(folder),
            classes=names,
        )
    return sort_names(names)


def sort_names(names: Collection[str]) -> tuple[str, ...]:
    """Names of classes in order, as numbers when all are."""
    if not all(map(is_number, names)):
        return tuple(sorted(names))
    plain = {name: name.lstrip("0") for name in names}
    return tuple(sorted(names, key=lambda name: (len(plain[name]), plain[name], name)))


def is_number(name: str) -> bool:
    """Whether a class name is a plain decimal number."""
    return name.isascii() and name.isdigit()


def check_test_classes(folder: Path, classes: Sequence[str]) -> None:
    """Raises DataSetInvalid when the test folder holds a class that train does not have."""
    unknown = sorted({child.name for child in list_folders(folder)} - set(classes))
    if unknown:
        raise DataSetInvalid(
            f"{folder} holds classes that train/ does not have:"
            f" {', '.join(unknown[:NAMED_CLASSES])}.",
            hint=f"The classes in train are: {', '.join(classes[:20])}. Names must be the same.",
            path=str(folder),
            classes=unknown,
        )


def list_folders(folder: Path) -> list[Path]:
    """The sub-folders of `folder` that are not hidden. Raises DataSetInvalid if unreadable."""
    return [child for child in list_children(folder) if child.is_dir()]


def list_images(folder: Path) -> tuple[Path, ...]:
    """The files in `folder` with the suffix of an image, sorted by name; () if it is not there."""
    if not folder.exists():
        return ()
    return tuple(
        child
        for child in list_children(folder)
        if child.suffix.lower() in SUFFIXES and child.is_file()
    )


def list_others(folders: Sequence[Path]) -> tuple[Path, ...]:
    """What the folders hold besides images and hidden files."""
    found = []
    for folder in folders:
        if folder.exists():
            images = set(list_images(folder))
            found += [child for child in list_children(folder) if child not in images]
    return tuple(found)


def describe_ignored(ignored: Sequence[Path]) -> tuple[str, ...]:
    """A sentence that counts files by suffix, and folders; none if there are none."""
    if not ignored:
        return ()
    kinds = Counter("folders" if path.is_dir() else path.suffix or "no suffix" for path in ignored)
    named = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common(NAMED_CLASSES))
    return (f"Ignored in the folders of classes, no pictures: {len(ignored):,} ({named}).",)


def list_children(folder: Path) -> list[Path]:
    """Everything in `folder` that is not hidden, by name. Raises `DataSetInvalid`."""
    try:
        found = sorted(folder.iterdir(), key=lambda child: child.name)
    except OSError as error:
        raise DataSetInvalid(
            f"{folder} cannot be read: {error.strerror or error}.",
            hint="Check that it is a folder and that you may read it.",
            path=str(folder),
        ) from error
    return [child for child in found if not child.name.startswith((".", "__"))]
