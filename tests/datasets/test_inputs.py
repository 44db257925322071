"""Image files that are decoded on access, and only then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.datasets import inputs, pictures
from modelpad.datasets.folder import load_folder
from modelpad.datasets.inputs import ImageFiles, ImageInput, describe_inputs
from modelpad.datasets.options import LoadOptions
from modelpad.datasets.pictures import Resize
from modelpad.errors import DataSetInvalid

LAZY = LoadOptions(memory_bytes=0)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that have been decoded so far."""
    names: list[str] = []
    original = pictures.read_picture

    def count(path: Path, *arguments: object) -> object:
        names.append(path.name)
        return original(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pictures, "read_picture", count)
    monkeypatch.setattr(inputs, "read_picture", count)
    return names


def test_only_the_items_accessed_are_decoded(class_folder: Path, decoded: list[str]) -> None:
    data = load_folder(class_folder, LAZY)
    assert isinstance(data.train.inputs, ImageFiles)
    decoded.clear()
    part = data.train.take(np.array([5, 1, 2]))
    assert (len(part), part.kind, decoded) == (3, ImageInput(16, 20, 3), [])
    assert part[1].input.shape == (16, 20, 3)  # type: ignore[union-attr]
    assert decoded == ["1.png"]
    decoded.clear()
    batch = next(part.batches(2))
    assert sorted(decoded) == ["1.png", "1.png"]
    assert batch.targets.tolist() == [1, 0]


def test_files_and_arrays_hold_the_same_images(class_folder: Path) -> None:
    lazy, eager = load_folder(class_folder, LAZY).train, load_folder(class_folder).train
    assert isinstance(eager.inputs, np.ndarray)
    np.testing.assert_array_equal(lazy.images, eager.images)
    np.testing.assert_array_equal(lazy.in_memory().inputs, eager.images)
    np.testing.assert_array_equal(lazy.labels, eager.labels)
    assert lazy.shape == eager.shape == (16, 20, 3)


def test_images_of_several_sizes_come_as_a_list(class_folder: Path, write_image: Any) -> None:
    write_image(class_folder / "cat" / "large.png", (50, 40))
    split = load_folder(class_folder).train
    assert split.kind == ImageInput(None, None, 3)
    batch = next(split.batches(5))
    assert isinstance(batch.inputs, list)
    assert {np.shape(image) for image in batch.inputs} == {(16, 20, 3), (40, 50, 3)}
    with pytest.raises(DataSetInvalid, match="from 20x16 to 50x40"):
        _ = split.images
    resized = load_folder(class_folder, LoadOptions(resize=Resize(8, 10), memory_bytes=0)).train
    assert resized.images.shape == (9, 8, 10, 3)


def test_grey_images_among_colour_ones_become_rgb(class_folder: Path, write_image: Any) -> None:
    write_image(class_folder / "cat" / "grey.png", mode="L")
    for options in (LAZY, LoadOptions()):
        images = load_folder(class_folder, options).train.images
        assert images.shape == (9, 16, 20, 3)
    grey = load_folder(class_folder, LoadOptions(channels=1, memory_bytes=0)).train
    assert describe_inputs(grey.inputs) == ImageInput(16, 20, 1)
    assert grey[0].input.shape == (16, 20)  # type: ignore[union-attr]


def test_a_file_that_is_damaged_after_loading_is_named(class_folder: Path) -> None:
    split = load_folder(class_folder, LAZY).train
    (class_folder / "cat" / "2.png").write_bytes(b"overwritten")
    with pytest.raises(DataSetInvalid, match=r"2\.png"):
        split[2]
    with pytest.raises(DataSetInvalid, match=r"2\.png"):
        list(split.batches(4))


@pytest.mark.slow
def test_large_photographs_do_not_fill_the_memory(tmp_path: Path, write_image: Any) -> None:
    """60 images of 12 MB each, 720 MB decoded, are loaded and read in far less."""
    for name in ("a", "b"):
        first = write_image(tmp_path / name / "0.jpg", (2000, 2000))
        for index in range(1, 30):
            (tmp_path / name / f"{index}.jpg").hardlink_to(first)
    code = f"""
import resource, sys
from pathlib import Path
from modelpad.datasets import load_data, pictures
import PIL.Image
pictures.MAX_THREADS = 2  # each decodes two pictures ahead
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = load_data(Path({str(tmp_path)!r}))
count = sum(len(batch.targets) for batch in data.train.batches(4))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
unit = 1 if sys.platform == "darwin" else 1024  # bytes
print(count, (peak - before) * unit // 1_000_000)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, grown_mb = map(int, done.stdout.split())
    assert count == 60
    assert grown_mb < 480
