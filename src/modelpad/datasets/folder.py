"""A folder of pictures in class sub-folders, optionally under `train/` and `test/`.

Classes are the names of the sub-folders, files are read in the order of their names: the same
folder always gives the same data set. Knows nothing of what is learned from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from modelpad.datasets.dataset import DataSet, Split
from modelpad.datasets.download import Progress
from modelpad.datasets.pictures import Unreadable, read_pictures
from modelpad.errors import DataSetInvalid, TooLarge

OnUnreadable = Literal["refuse", "skip"]

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
)
TEST_NAMES = ("test", "testing", "val", "valid", "validation")
MAX_BYTES = 8 << 30
NAMED_FILES = 5


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """How to read a folder.

    `size`: (height, width) to resize every picture to; None when all have one size already.
    `channels`: 1 grey, 3 RGB; None takes RGB as soon as one picture has colour.
    `on_unreadable`: refuse the folder, or skip what cannot be read and name it in the data set.
    `max_bytes`: how much memory the pictures may fill.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    on_unreadable: OnUnreadable = "refuse"
    max_bytes: int = MAX_BYTES


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a folder by class: `train[k]` and `test[k]` are those of `classes[k]`."""

    classes: tuple[str, ...]
    train: tuple[tuple[Path, ...], ...]
    test: tuple[tuple[Path, ...], ...] | None

    def files(self) -> list[Path]:
        """All files, train before test, class by class."""
        return [path for split in (self.train, self.test or ()) for of in split for path in of]


def load_folder(
    folder: Path, options: FolderOptions | None = None, progress: Progress | None = None
) -> DataSet:
    """The pictures in `folder`, uint8 (N, H, W) or (N, H, W, 3); progress counts pictures.

    Raises DataSetInvalid: fewer than two classes, a class without pictures, a picture that cannot
    be read (unless skipped), pictures of several sizes without `size`. TooLarge: more than
    `max_bytes` of pictures.
    """
    options = options or FolderOptions()
    layout = survey_folder(folder)
    files = layout.files()
    pictures: dict[Path, NDArray[np.uint8]] = {}
    unreadable: list[str] = []
    filled_bytes = 0
    for path, result in zip(
        files, read_pictures(files, options.size, options.channels), strict=True
    ):
        if isinstance(result, Unreadable):
            unreadable.append(f"{path.relative_to(folder)} ({result.reason})")
        else:
            pictures[path] = result
            filled_bytes += result.nbytes
            if filled_bytes > options.max_bytes:
                raise too_many(folder, len(pictures), len(files), options.max_bytes)
        if progress is not None:
            progress(len(pictures) + len(unreadable), len(files))
    if unreadable and options.on_unreadable == "refuse":
        raise refuse_unreadable(folder, unreadable, len(files))
    return DataSet(
        name=folder.resolve().name,
        title=f"{folder.resolve().name} (pictures in class folders)",
        licence="unknown",
        source=str(folder),
        classes=layout.classes,
        train=build_train(folder, layout, pictures),
        test=build_split(folder, layout.test, pictures) if layout.test else None,
        skipped=tuple(unreadable),
    )


def survey_folder(folder: Path) -> Layout:
    """The classes and files of `folder`; opens no file.

    `train/` (and one of `test/`, `val/`...) are splits when every sub-folder is named as a split.
    Classes are sorted by name, as numbers when all are. Raises DataSetInvalid (see `load_folder`).
    """
    below = {child.name.lower(): child for child in list_folders(folder)}
    test_name = next((name for name in TEST_NAMES if name in below), None)
    if "train" in below and below.keys() <= {"train", *TEST_NAMES}:
        train_folder, test_folder = below["train"], below[test_name] if test_name else None
    else:
        train_folder, test_folder = folder, None
    classes = name_classes(train_folder)
    train = tuple(list_pictures(train_folder / name) for name in classes)
    for name, files in zip(classes, train, strict=True):
        if not files:
            raise DataSetInvalid(
                f"The class {name!r} in {train_folder} holds no picture.",
                hint=f"Put pictures directly into {train_folder / name}, or remove that folder."
                f" Read are: {', '.join(sorted(SUFFIXES))}.",
                path=str(train_folder / name),
            )
    if test_folder is None:
        return Layout(classes, train, None)
    check_test_classes(test_folder, classes)
    return Layout(classes, train, tuple(list_pictures(test_folder / name) for name in classes))


def name_classes(folder: Path) -> tuple[str, ...]:
    """The class names in `folder`, at least two, sorted. Raises DataSetInvalid."""
    names = [child.name for child in list_folders(folder)]
    if len(names) < 2:
        loose = len(list_pictures(folder))
        found = "no class sub-folder" if not names else f"only one class, {names[0]!r}"
        raise DataSetInvalid(
            f"{folder} holds {found}"
            + (f" ({loose:,} pictures lie loose in it)." * bool(loose) or "."),
            hint="Put the pictures of each class into a sub-folder with the name of the class:"
            " at least two of them, directly or under train/ and test/.",
            path=str(folder),
            classes=names,
        )
    return tuple(sorted(names, key=int if all(map(is_number, names)) else str))


def is_number(name: str) -> bool:
    """Whether a class name is a plain decimal number."""
    return name.isascii() and name.isdigit()


def check_test_classes(folder: Path, classes: Sequence[str]) -> None:
    """Raises DataSetInvalid when the test folder holds a class that is not trained on."""
    unknown = sorted({child.name for child in list_folders(folder)} - set(classes))
    if unknown:
        raise DataSetInvalid(
            f"{folder} holds classes that are not trained on: {', '.join(unknown[:NAMED_FILES])}.",
            hint=f"The classes in train are: {', '.join(classes[:20])}. Names must be the same.",
            path=str(folder),
            classes=unknown,
        )


def list_folders(folder: Path) -> list[Path]:
    """The sub-folders of `folder` that are not hidden. Raises DataSetInvalid if unreadable."""
    return [child for child in list_children(folder) if child.is_dir()]


def list_pictures(folder: Path) -> tuple[Path, ...]:
    """The files in `folder` with the suffix of a picture, sorted by name; () if it is not there."""
    if not folder.exists():
        return ()
    return tuple(
        child
        for child in list_children(folder)
        if child.suffix.lower() in SUFFIXES and child.is_file()
    )


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


def build_train(folder: Path, layout: Layout, pictures: Mapping[Path, NDArray[np.uint8]]) -> Split:
    """The train split. Raises DataSetInvalid when skipping left a class without pictures."""
    for name, files in zip(layout.classes, layout.train, strict=True):
        if not any(path in pictures for path in files):
            raise DataSetInvalid(
                f"The class {name!r} in {folder} holds no picture that can be read.",
                hint=f"Put readable pictures into {files[0].parent}, or remove that folder.",
                path=str(files[0].parent),
            )
    return build_split(folder, layout.train, pictures)


def build_split(
    folder: Path,
    by_class: Sequence[Sequence[Path]],
    pictures: Mapping[Path, NDArray[np.uint8]],
) -> Split:
    """Readable pictures and their labels as one split. All of `pictures` must be of one size."""
    check_sizes(folder, pictures)
    channels = max((picture.ndim for picture in pictures.values()), default=2)
    chosen = [
        (label, pictures[path])
        for label, files in enumerate(by_class)
        for path in files
        if path in pictures
    ]
    height, width = next(iter(pictures.values())).shape[:2]
    shape = (len(chosen), height, width) + ((3,) if channels == 3 else ())
    images = np.empty(shape, np.uint8)
    for place, (_, picture) in enumerate(chosen):
        images[place] = picture if picture.ndim == channels else picture[:, :, None]
    return Split(images, np.array([label for label, _ in chosen], np.int64))


def check_sizes(folder: Path, pictures: Mapping[Path, NDArray[np.uint8]]) -> None:
    """Raises DataSetInvalid unless all pictures have one height and width."""
    sizes = {picture.shape[:2] for picture in pictures.values()}
    if len(sizes) > 1:
        (low, high) = min(sizes, key=lambda s: s[0] * s[1]), max(sizes, key=lambda s: s[0] * s[1])
        raise DataSetInvalid(
            f"The pictures in {folder} have {len(sizes):,} sizes,"
            f" from {low[1]}x{low[0]} to {high[1]}x{high[0]} pixels (width x height).",
            hint="Give the size to bring them all to, for example size=(128, 128).",
            path=str(folder),
        )


def refuse_unreadable(folder: Path, unreadable: Sequence[str], total: int) -> DataSetInvalid:
    """The error that names and counts what cannot be read; to be raised by the caller."""
    named = "; ".join(unreadable[:NAMED_FILES])
    more = len(unreadable) - NAMED_FILES
    return DataSetInvalid(
        f"{len(unreadable):,} of {total:,} pictures in {folder} cannot be read: {named}"
        + (f"; and {more:,} more." if more > 0 else "."),
        hint="Repair or delete them, or leave them out with on_unreadable='skip'"
        " (--skip-unreadable on the command line).",
        path=str(folder),
        unreadable=tuple(unreadable),
    )


def too_many(folder: Path, read: int, total: int, limit_bytes: int) -> TooLarge:
    """The error for pictures that would fill the memory; to be raised by the caller."""
    return TooLarge(
        f"The pictures in {folder} fill more than {limit_bytes / 2**30:.1f} GiB"
        f" ({read:,} of {total:,} read so far).",
        hint="Give a smaller size to bring them to, for example size=(128, 128).",
        limit=limit_bytes,
    )
