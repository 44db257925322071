"""Which classes and files a folder holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpad.datasets.class_folders import sort_names, survey_folder
from modelpad.datasets.folder import load_folder
from modelpad.errors import DataSetInvalid


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_train_and_test_share_the_classes(tmp_path: Path) -> None:
    touch(*(tmp_path / "train" / name / "1.jpg" for name in ("dog", "cat", "emu")))
    touch(*(tmp_path / "test" / name / f"{i}.JPG" for name in ("dog", "cat") for i in "12"))
    layout = survey_folder(tmp_path)
    assert layout.classes == ("cat", "dog", "emu")
    assert layout.labels().tolist() == [0, 1, 2, 0, 0, 1, 1]
    assert layout.train_count == 3
    assert [path.parent.name for path in layout.files()[3:]] == ["cat", "cat", "dog", "dog"]


def test_a_class_only_in_test_is_an_error(tmp_path: Path) -> None:
    touch(*(tmp_path / "train" / name / "1.jpg" for name in ("cat", "dog")))
    touch(tmp_path / "test" / "emu" / "1.jpg")
    with pytest.raises(DataSetInvalid, match="emu"):
        survey_folder(tmp_path)


def test_hidden_folders_and_other_files_are_ignored(class_folder: Path) -> None:
    touch(class_folder / ".cache" / "1.png", class_folder / "__MACOSX" / "1.png")
    touch(class_folder / "cat" / "notes.txt", class_folder / "cat" / ".hidden.png")
    assert len(load_folder(class_folder).train) == 8


def test_numbers_are_sorted_as_numbers() -> None:
    assert sort_names({"10", "9", "0", "100"}) == ("0", "9", "10", "100")
    assert sort_names({"10", "9", "x"}) == ("10", "9", "x")
    assert sort_names({"1" * 5000, "2"}) == ("2", "1" * 5000)
