"""Loading decodes every image once: what is damaged is refused or left out, by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelpad.datasets.image_check import check_images
from modelpad.datasets.inputs import ImageFiles
from modelpad.datasets.options import LoadOptions
from modelpad.datasets.progress import ProgressUpdate
from modelpad.errors import DataSetInvalid


def list_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def test_damaged_files_are_refused_or_left_out(class_folder: Path) -> None:
    (class_folder / "cat" / "1.png").write_bytes(b"no image")
    files = list_files(class_folder)
    with pytest.raises(DataSetInvalid, match=r"1 of 8 images .* cat/1\.png \(not an image\)"):
        check_images(class_folder, files, LoadOptions())
    checked = check_images(class_folder, files, LoadOptions(memory_bytes=0), "skip")
    assert isinstance(checked.inputs, ImageFiles)
    assert checked.kept.tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert checked.inputs.files == tuple(files[index] for index in checked.kept)
    assert checked.skipped == ("cat/1.png (not an image)",)


@pytest.mark.parametrize(("memory_bytes", "kept"), [(8 * 16 * 20 * 3, True), (7_679, False)])
def test_what_fits_is_kept_in_memory(class_folder: Path, memory_bytes: int, kept: bool) -> None:
    options = LoadOptions(memory_bytes=memory_bytes)
    checked = check_images(class_folder, list_files(class_folder), options)
    assert isinstance(checked.inputs, np.ndarray) is kept


def test_progress_counts_images(class_folder: Path) -> None:
    updates: list[ProgressUpdate] = []
    files = list_files(class_folder)
    check_images(class_folder, files, LoadOptions(), progress=updates.append)
    assert [update.done for update in updates] == list(range(1, 9))
    assert updates[-1] == ProgressUpdate("read", "animals", 8, 8, "images", finished=True)
