"""A data set from text files: each is one text, with the class of its sub-folder if it has one.

Independent of tables. Folders are laid out as for images (see `class_folders`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modelpad.datasets.class_folders import SUFFIXES as IMAGE_SUFFIXES
from modelpad.datasets.class_folders import (
    TEST_NAMES,
    check_test_classes,
    list_children,
    sort_names,
)
from modelpad.datasets.dataset import DataSet
from modelpad.datasets.inputs import Texts
from modelpad.datasets.options import OnUnreadable
from modelpad.datasets.split import Split
from modelpad.errors import DataSetInvalid

SUFFIX = ".txt"
UNLABELLED = ("unsup", "unlabelled", "unlabeled")  # sub-folders of texts without a class
MAX_TEXT_BYTES = 1 << 30
DEPTH = 3


def is_text(path: Path) -> bool:
    """Whether the name of `path` is that of a text file."""
    return path.suffix.lower() == SUFFIX


def holds_texts(folder: Path) -> bool:
    """Whether there are text files in a folder or the two levels below it, and no images."""
    files = list(walk(folder, DEPTH))
    images = any(path.suffix.lower() in IMAGE_SUFFIXES for path in files)
    return not images and any(map(is_text, files))


def walk(folder: Path, depth: int) -> Iterator[Path]:
    """All files in a folder and so many levels of folders, sorted, without hidden ones."""
    for child in list_children(folder):
        if not child.is_dir():
            yield child
        elif depth > 1:
            yield from walk(child, depth - 1)


def load_text_file(path: Path) -> DataSet:
    """A single text. Raises DataSetInvalid when it is not text, or empty."""
    reader = _Reader("refuse")
    return reader.describe(path, (), reader.read(path.parent, [(path, 0)], labelled=False), None)


def load_text_folder(folder: Path, on_unreadable: OnUnreadable = "refuse") -> DataSet:
    """The texts below a folder.

    With `train/` (and one of `test/`, `val/`...), these are the splits. Where the texts of the
    training split are in two or more sub-folders, these are their classes, but for one called
    `unsup` or `unlabelled`; otherwise the texts have no classes.

    Raises DataSetInvalid: a file that is not text in UTF-8 or is empty (unless skipped), no text at
    all, or a class in the test split that the training split does not have.
    """
    below = {child.name.lower(): child for child in list_children(folder) if child.is_dir()}
    is_split = "train" in below
    train_folder = below["train"] if is_split else folder
    test_name = next((name for name in TEST_NAMES if is_split and name in below), None)
    classes = find_classes(train_folder)
    reader = _Reader(on_unreadable)
    train = reader.read(folder, list_files(train_folder, classes), labelled=bool(classes))
    test, unlabelled = None, None
    if test_name is not None:
        if classes:
            check_test_classes(below[test_name], (*classes, *UNLABELLED))
        files = list_files(below[test_name], classes)
        test = reader.read(folder, files, labelled=bool(classes))
    others = next((name for name in UNLABELLED if (train_folder / name).is_dir()), None)
    if classes and others is not None:
        files = list_files(train_folder / others, ())
        unlabelled = reader.read(folder, files, labelled=False)
    return reader.describe(folder, classes, train, test, unlabelled)


def find_classes(folder: Path) -> tuple[str, ...]:
    """The sub-folders with texts, if there are several and no text lies beside them; else none."""
    children = list_children(folder)
    names = [
        child.name
        for child in children
        if child.is_dir() and child.name.lower() not in UNLABELLED and any(texts_in(child))
    ]
    loose = any(is_text(child) for child in children if child.is_file())
    return sort_names(names) if len(names) > 1 and not loose else ()


def list_files(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """The texts of each class with its index; without classes, all texts with 0."""
    if not classes:
        return [(path, 0) for path in texts_in(folder)]
    return [
        (path, label)
        for label, name in enumerate(classes)
        if (folder / name).is_dir()
        for path in texts_in(folder / name)
    ]


def texts_in(folder: Path) -> Iterator[Path]:
    """The text files in a folder and the levels below it."""
    return (path for path in walk(folder, DEPTH) if is_text(path))


@dataclass(slots=True)
class _Reader:
    """Reads files, and keeps a record of them and of those that were skipped."""

    on_unreadable: OnUnreadable
    files: list[Path] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def read(self, base: Path, files: list[tuple[Path, int]], *, labelled: bool) -> Split:
        texts, labels, names = [], [], []
        for path, label in files:
            try:
                text = read_text(path)
            except DataSetInvalid as error:
                if self.on_unreadable == "refuse":
                    raise
                self.skipped.append(f"{path.relative_to(base)}: {error.message}")
                continue
            texts.append(text)
            labels.append(label)
            names.append(str(path.relative_to(base)))
            self.files.append(path)
        if not texts:
            raise DataSetInvalid(
                f"{base} holds no text that can be read.",
                hint=f"Put texts in UTF-8 there, in files that end in {SUFFIX}.",
                path=str(base),
            )
        targets = np.array(labels, np.int64) if labelled else np.zeros((len(texts), 0), np.float32)
        return Split(Texts(tuple(texts)), targets, tuple(names))

    def describe(
        self,
        path: Path,
        classes: tuple[str, ...],
        train: Split,
        test: Split | None,
        unlabelled: Split | None = None,
    ) -> DataSet:
        name = path.resolve().name.removesuffix(SUFFIX)
        return DataSet(
            name=name,
            title=f"{name} (text files)",
            licence="unknown",
            source=str(path),
            classes=classes,
            train=train,
            test=test,
            skipped=tuple(self.skipped),
            task="classification" if classes else "unlabelled",
            location=path,
            files=tuple(self.files),
            unlabelled=unlabelled,
        )


def read_text(path: Path) -> str:
    """The text in a file. Raises DataSetInvalid when it is not UTF-8, is empty or is too long."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise unreadable(path, f"cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_TEXT_BYTES:
        raise unreadable(path, f"has more than {MAX_TEXT_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        problem = f"is not text: byte {error.start:,} is not UTF-8"
        raise unreadable(path, problem) from error
    if "\0" in text:
        raise unreadable(path, "is not text: it contains zero bytes")
    if not text.strip():
        raise unreadable(path, "is empty")
    return text


def unreadable(path: Path, problem: str) -> DataSetInvalid:
    """The error for a file that is no text; to be raised by the caller."""
    return DataSetInvalid(
        f"{path} {problem}.",
        hint="Save it as text in UTF-8, remove it, or leave it out with --skip-unreadable.",
        path=str(path),
    )
