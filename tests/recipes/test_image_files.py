"""What the images recipe makes of bad, odd and repeated files: named, counted, never lost."""

from __future__ import annotations

import io
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelpad.datasets import LoadOptions
from modelpad.errors import DataSetInvalid
from modelpad.recipes.images.columns import ColumnOptions
from modelpad.recipes.images.data import Pictures, load_pictures, split_pictures
from modelpad.training.run import Run, TrainRequest

RNG = np.random.default_rng(0)


def draw() -> Image.Image:
    """A blurred random picture, unlike any other."""
    noise = RNG.integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize((48, 40), Image.Resampling.BICUBIC)


def write_folder(folder: Path, count: int = 8) -> Path:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            draw().save(folder / name / f"{index:04}.png")
    return folder


def load(data: Path, columns: ColumnOptions | None = None, **more: Any) -> tuple[Pictures, str]:
    """The pictures at 32 x 32, and what was printed."""
    printed = io.StringIO()
    request = TrainRequest(name="pets", data=str(data), folder=data.parent / "run", **more)
    table = (columns or ColumnOptions()).plan()
    found = load_pictures(Run(request, {}, printed), 32, 224, LoadOptions(table=table))
    return found, printed.getvalue()


def test_broken_files_among_many_are_counted_named_and_can_be_left_out(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "in", 60)
    whole = (data / "cat/0007.png").read_bytes()
    (data / "cat/0007.png").write_bytes(whole[: len(whole) // 2])
    (data / "dog/text.jpg").write_text("hello")
    (data / "dog/empty.gif").write_bytes(b"")
    with pytest.raises(DataSetInvalid, match=r"3 of 122 images .* cat/0007.png \(.*truncated"):
        load(data)
    pictures, _ = load(data, skip_unreadable=True)
    assert len(pictures.data.train) == 119
    assert [each.partition(" ")[0] for each in pictures.data.skipped] == [
        "cat/0007.png",
        "dog/empty.gif",
        "dog/text.jpg",
    ]


def test_a_picture_of_144_million_pixels_is_refused_undecoded(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "in")
    Image.new("1", (12_000, 12_000)).save(data / "cat/huge.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(DataSetInvalid, match=r"huge.png \(12,000 x 12,000 pixels, over 89"):
            load(data)
    assert [str(each.message) for each in caught] == []


def test_every_kind_of_pixels_becomes_rgb(tmp_path: Path) -> None:
    """CMYK, 16 bits, floating point, palettes, transparency, one bit: red stays red."""
    data = write_folder(tmp_path / "in")
    red = Image.new("RGB", (40, 40), (220, 30, 30))
    red.convert("CMYK").save(data / "cat/a-cmyk.jpg")
    red.convert("P").save(data / "cat/a-palette.png")
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    clear.paste(red, (0, 0))
    clear.save(data / "cat/a-alpha.webp", lossless=True)
    frames = [red, Image.new("RGB", (40, 40), (30, 30, 220))]
    frames[0].save(data / "cat/a-moving.gif", save_all=True, append_images=frames[1:])
    deep = np.full((40, 40), 45_000, np.uint16)
    Image.fromarray(deep).save(data / "dog/a-16.png")
    Image.fromarray(np.full((40, 40), 128.0, np.float32)).save(data / "dog/a-float.tif")
    Image.new("1", (40, 40), 1).save(data / "dog/a-bit.png")
    pictures, _ = load(data)
    split = pictures.data.train
    seen = dict(zip(split.names, split.images, strict=True))
    for name in ("cmyk.jpg", "palette.png", "alpha.webp", "moving.gif"):
        assert np.abs(seen[f"cat/a-{name}"].mean(axis=(0, 1)) - (220, 30, 30)).max() < 12, name
    assert seen["dog/a-16.png"].min() == seen["dog/a-16.png"].max() == 175
    assert seen["dog/a-float.tif"].max() == 128
    assert seen["dog/a-bit.png"].min() == 255


def test_files_that_are_no_pictures_are_counted(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "in")
    for name in ("cat/notes.txt", "cat/a.heic", "dog/b.heic"):
        (data / name).write_bytes(b"?")
    (data / "dog/more").mkdir()
    pictures, printed = load(data)
    note = "Ignored in the folders of classes, no pictures: 4 (.heic 2, .txt 1, folders 1)."
    assert note in printed
    assert pictures.data.notes == (note,)


def test_three_pictures_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(DataSetInvalid, match="has only 4 pictures to train on"):
        load(write_folder(tmp_path / "in", 2))


def test_a_table_with_missing_files_counts_them(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "in", 12)
    rows = [f"{name}/{n:04}.png,{name}" for name in ("cat", "dog") for n in range(14)]
    (data / "labels.csv").write_text("\n".join(["path,label", *rows]))
    with pytest.raises(DataSetInvalid, match=r"4 of the 28 files .* cat/0012.png, .* 1 more"):
        load(data / "labels.csv")
    pictures, _ = load(data / "labels.csv", skip_unreadable=True)
    assert len(pictures.data.train) == 24
    assert len(pictures.data.skipped) == 4


def test_a_table_without_pictures_or_targets_says_how_to_name_them(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "in")
    (data / "texts.csv").write_text("text,label\nhello,a\nbye,b\n")
    with pytest.raises(DataSetInvalid, match="holds texts") as error:
        load(data / "texts.csv")
    assert "--input-column" in error.value.hint
    (data / "bare.csv").write_text("path,kind\ncat/0000.png,a\n")
    with pytest.raises(DataSetInvalid, match="nothing to predict") as error:
        load(data / "bare.csv")
    assert "--target-column" in error.value.hint


def test_labels_and_numbers_of_a_table_are_read(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "in", 20)
    rows = [
        f"{name}/{n:04}.png,{'small|' * (n % 2)}{name},{n}"
        for name in ("cat", "dog")
        for n in range(20)
    ]
    (data / "all.csv").write_text("\n".join(["path,tags,age", *rows]))
    columns = ColumnOptions(target_column=("tags",), multi_label=True)
    pictures, _ = load(data / "all.csv", columns)
    assert pictures.data.classes == ("cat", "dog", "small")
    assert pictures.data.train.targets.sum(axis=0).tolist() == [20, 20, 20]
    pictures, _ = load(data / "all.csv", ColumnOptions(target_column=("age",), regression=True))
    assert pictures.data.value_names == ("age",)
    assert pictures.data.train.targets.max() == 19


def test_duplicates_are_on_one_side_of_a_split_and_named(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "in", 30)
    for n in range(10):
        shutil.copy(data / f"cat/{n:04}.png", data / f"cat/copy-{n}.png")
    shutil.copy(data / "cat/0011.png", data / "dog/wrong.png")
    pictures, printed = load(data)
    assert "Duplicates: 11 exact, such as cat/copy-0.png and cat/0000.png." in printed
    table = pictures.findings.tables[0]
    assert table.note == "The label of 1 differs: one of the two is wrong."
    assert ("dog/wrong.png", "cat/0011.png", "copy", "differs") in table.rows
    request = TrainRequest(name="pets", data=str(data), folder=tmp_path / "run")
    splits = split_pictures(pictures, Run(request, {}, io.StringIO()), divide=True)
    parts = [splits.train, splits.validation, splits.test]
    places = {name: n for n, part in enumerate(parts) for name in part.names}
    assert all(places[f"cat/{n:04}.png"] == places[f"cat/copy-{n}.png"] for n in range(10))


def test_training_pictures_that_are_in_the_test_split_are_left_out(tmp_path: Path) -> None:
    data = tmp_path / "in"
    write_folder(data / "train", 10)
    write_folder(data / "test", 4)
    shutil.copy(data / "test/dog/0001.png", data / "train/dog/seen.png")
    pictures, printed = load(data)
    assert "1 training pictures were left out" in printed
    assert len(pictures.data.train) == 20
    assert "train/dog/seen.png" not in pictures.data.train.names
    assert pictures.data.test is not None
    assert len(pictures.data.test) == 8


def test_pictures_of_one_scene_are_not_taken_for_one_picture(tmp_path: Path) -> None:
    data = tmp_path / "in"
    scene = draw()
    for name in ("cat", "dog"):
        (data / name).mkdir(parents=True)
        for n in range(8):
            picture = scene.copy()
            place = (4 * n, 3 if name == "cat" else 30)
            red, green, blue = np.asarray(picture)[place[1], place[0]].tolist()
            picture.putpixel(place, (red ^ 4, green, blue))
            picture.save(data / name / f"{n}.png")
    pictures, printed = load(data)
    assert "look like others, as pictures of one scene do" in printed
    assert pictures.data.train.groups is None


def test_copies_of_one_picture_are_no_class(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "in", 12)
    for n in range(1, 12):
        shutil.copy(data / "dog/0000.png", data / f"dog/{n:04}.png")
    with pytest.raises(DataSetInvalid, match="'dog' has pictures of only 1 different thing"):
        load(data)
