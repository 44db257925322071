"""Contact sheets of images of any size, with any targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelpad.datasets.contact_sheet import contact_sheet, fit_cell, group_items
from modelpad.datasets.dataset import DataSet
from modelpad.datasets.folder import load_folder
from modelpad.datasets.inputs import Texts
from modelpad.datasets.options import Task
from modelpad.datasets.split import Split
from modelpad.errors import DataSetInvalid, ModelpadError


def make_set(split: Split, classes: tuple[str, ...], task: Task = "classification") -> DataSet:
    names = ("value",) if task == "regression" else ()
    return DataSet("n", "t", "l", "s", classes, split, task=task, value_names=names)


def test_cells_fit_small_large_and_varied_images(class_folder: Path, write_image: Any) -> None:
    small = Split(np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.int64))
    large = Split(np.zeros((1, 600, 1200, 3), np.uint8), np.zeros(1, np.int64))
    assert fit_cell(small) == (56, 56)
    assert fit_cell(large) == (112, 56)
    write_image(class_folder / "dog" / "wide.png", (300, 100))
    data = load_folder(class_folder)
    assert fit_cell(data.train) == (112, 112)
    with Image.open(contact_sheet(data, class_folder / "sheet.png")) as sheet:
        assert sheet.height == 2 * 16 + 2 * 112 + 6


def test_rows_are_classes_labels_or_everything() -> None:
    images = np.zeros((3, 8, 8, 1), np.uint8)
    flags = Split(images, np.array([[1, 0], [1, 1], [0, 0]], np.bool_))
    rows = group_items(make_set(flags, ("a", "b"), "multi-label"))
    assert [(name, places.tolist()) for name, places in rows] == [("a", [0, 1]), ("b", [1])]
    values = make_set(Split(images, np.zeros((3, 1), np.float32)), (), "regression")
    assert [(name, len(places)) for name, places in group_items(values)] == [("all", 3)]


def test_values_are_drawn_too(tmp_path: Path) -> None:
    images = np.zeros((3, 8, 8, 1), np.uint8)
    data = make_set(Split(images, np.zeros((3, 1), np.float32)), (), "regression")
    assert contact_sheet(data, tmp_path / "new" / "sheet.png").is_file()


def test_texts_have_no_sheet(tmp_path: Path) -> None:
    data = make_set(Split(Texts(("a", "b")), np.array([0, 1])), ("x", "y"))
    with pytest.raises(DataSetInvalid, match="texts"):
        contact_sheet(data, tmp_path / "sheet.png")


def test_a_sheet_that_cannot_be_written_is_said(class_folder: Path) -> None:
    with pytest.raises(ModelpadError, match="cannot be written"):
        contact_sheet(load_folder(class_folder), class_folder / "cat" / "0.png" / "sheet.png")
