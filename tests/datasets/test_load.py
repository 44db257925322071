"""Data sets by name and by folder: what is there, and every way that one can be damaged."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelpad.datasets import (
    CATALOGUE,
    ImageInput,
    LoadOptions,
    ProgressUpdate,
    TextInput,
    contact_sheet,
    draw_strokes,
    load_data,
    load_pen_strokes,
)
from modelpad.errors import DataSetInvalid, DataSetNotFound, ModelpadError
from modelpad.fields.preparation import prepare_sketch


def write_classes(folder: Path, names: tuple[str, ...], each: int = 4) -> Path:
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            picture = Image.new("L", (20, 16), 40 * number + index)
            picture.save(folder / name / f"{index}.png")
    return folder


def require(data_root: Path, name: str) -> None:
    if not (data_root / name).is_dir():
        pytest.skip(f"MODELPAD_DATA has no {name}/")


def test_mnist_is_whole(data_root: Path) -> None:
    data = load_data("mnist", roots=[data_root])
    assert data.train.images.shape == (60000, 28, 28)
    assert data.test is not None
    assert np.bincount(data.test.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


def test_uci_digits_need_no_download() -> None:
    data = load_data("uci-digits")
    assert len(data.train) + len(data.test or ()) == 1797
    assert data.train.images.max() == 255


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_a_damaged_file_is_named(data_root: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(data_root / "mnist", tmp_path / "mnist")
    path = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    path.chmod(0o644)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:2000])
    else:
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[5000] ^= 1
        path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(DataSetInvalid, match="t10k-labels"):
        load_data("mnist", roots=[tmp_path])


def test_a_folder_of_classes(tmp_path: Path) -> None:
    data = load_data(write_classes(tmp_path / "data", ("cat", "dog", "emu")))
    assert data.classes == ("cat", "dog", "emu")
    assert data.train.images.shape == (12, 16, 20)
    sheet = contact_sheet(data, tmp_path / "sheet.png")
    assert Image.open(sheet).size[0] > 100


@pytest.mark.parametrize("names", [(), ("only",)])
def test_none_or_one_class_cannot_be_learned(tmp_path: Path, names: tuple[str, ...]) -> None:
    (tmp_path / "data").mkdir()
    write_classes(tmp_path / "data", names)
    with pytest.raises(ModelpadError) as raised:
        load_data(tmp_path / "data")
    assert raised.value.hint


def test_an_unreadable_picture_is_named_refused_or_skipped(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "data", ("cat", "dog"), each=30)
    (folder / "dog" / "7.png").write_bytes(b"no picture")
    with pytest.raises(DataSetInvalid, match=r"7\.png"):
        load_data(folder)
    data = load_data(folder, on_unreadable="skip")
    assert len(data.train) == 59
    assert len(data.skipped) == 1
    assert "7.png" in data.skipped[0]


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(DataSetNotFound) as raised:
        load_data("mnits")
    assert "mnist" in raised.value.hint


def test_flowers(data_root: Path) -> None:
    require(data_root, "flowers")
    data = load_data("flowers", roots=[data_root])
    assert data.classes == ("daisy", "dandelion", "rose", "sunflower", "tulip")
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (3410, 451)
    assert data.train.shape == (128, 128, 3)
    assert "CC BY 2.0" in data.licence


def test_ants_and_bees_vary_in_size(data_root: Path, tmp_path: Path) -> None:
    require(data_root, "ants-bees")
    data = load_data("ants-bees", roots=[data_root])
    assert data.count_classes(data.train) == {"ants": 124, "bees": 121}
    assert data.train.kind == ImageInput(None, None, 3)
    assert min(data.train[0].input.shape[:2]) == 224  # type: ignore[union-attr]
    sheet = Image.open(contact_sheet(data, tmp_path / "sheet.png"))
    assert sheet.height < 400


def test_wikipedia_has_texts_and_topics(data_root: Path) -> None:
    require(data_root, "wikipedia")
    data = load_data("wikipedia", roots=[data_root])
    assert (len(data.train), len(data.classes), data.train.kind) == (10_031, 12, TextInput())
    assert data.licence == "CC BY-SA 4.0"


@pytest.mark.parametrize(
    "name", ["flowers", "ants-bees", "imdb", "wikipedia", "wikitext-103", "xray"]
)
def test_a_data_set_without_a_download_says_what_to_put_where(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataSetNotFound, match=str(tmp_path / "cache" / name)) as raised:
        load_data(name, roots=[tmp_path / "data"], cache=tmp_path / "cache")
    assert CATALOGUE[name].layout in raised.value.hint
    assert f"{name}/" in raised.value.hint


def test_a_named_data_set_is_also_found_in_the_cache(tmp_path: Path) -> None:
    write_classes(tmp_path / "cache" / "ants-bees", ("ants", "bees"))
    data = load_data("ants-bees", roots=[tmp_path / "data"], cache=tmp_path / "cache")
    assert (data.name, len(data.train)) == ("ants-bees", 8)


def test_an_archive_is_unpacked_once_into_the_cache(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "made" / "wrapped", ("cat", "dog"))
    archive = Path(shutil.make_archive(str(tmp_path / "animals"), "zip", folder.parent))
    updates: list[ProgressUpdate] = []
    for _ in range(2):
        data = load_data(archive, cache=tmp_path / "cache", progress=updates.append)
        assert (data.name, data.classes, len(data.train)) == ("animals", ("cat", "dog"), 8)
        assert (data.location, data.files) == (archive, (archive,))
    assert [update.action for update in updates if update.finished] == ["unpack", "read", "read"]
    assert len(list((tmp_path / "cache" / "unpacked").iterdir())) == 1
    with pytest.raises(DataSetNotFound, match="no cache"):
        load_data(archive)
    with pytest.raises(DataSetInvalid, match="SHA-256"):
        load_data(archive, cache=tmp_path / "cache", options=LoadOptions(sha256="ab" * 32))
    checked = LoadOptions(sha256=hashlib.sha256(archive.read_bytes()).hexdigest())
    assert load_data(archive, cache=tmp_path / "cache", options=checked).verified


def test_a_file_that_is_nothing_known_says_what_is(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("words")
    with pytest.raises(DataSetInvalid, match="neither a folder, a table nor an archive") as raised:
        load_data(tmp_path / "notes.md", cache=tmp_path)
    assert "JSON Lines" in raised.value.hint


def test_pen_strokes_become_sketches(data_root: Path) -> None:
    digits = load_pen_strokes([data_root])
    assert len(digits) == 7494
    assert len({digit.writer for digit in digits}) == 30
    sketch = prepare_sketch(draw_strokes(digits[0].strokes))
    assert sketch.shape == (28, 28)
    assert sketch.sum() > 5000
