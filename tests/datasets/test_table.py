"""Data sets from tables: texts, and images by file name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelpad.datasets import LoadOptions, TableOptions, TextInput, load_data
from modelpad.datasets.table import find_tables, load_table
from modelpad.errors import DataSetInvalid


def test_texts_with_classes_in_two_splits(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\ngood,pos\nbad,neg\nfine,pos\n")
    (tmp_path / "test.jsonl").write_text('{"text": "awful", "label": "neg"}\n')
    data = load_data(tmp_path)
    assert data.test is not None
    assert (data.classes, data.task) == (("neg", "pos"), "classification")
    assert [str(example.input) for example in data.train] == ["good", "bad", "fine"]
    assert data.train.labels.tolist() == [1, 0, 1]
    assert (data.test[0].input, data.test.labels.tolist()) == ("awful", [0])
    assert data.files == (tmp_path / "train.csv", tmp_path / "test.jsonl")


def test_images_by_name_with_values(class_folder: Path) -> None:
    table = class_folder / "weights.csv"
    rows = [f"{name}/{i}.png,{i / 2},{i}" for name in ("cat", "dog") for i in (0, 1, 3)]
    table.write_text("\n".join(["file_name,kg,age", *rows]))
    options = LoadOptions(table=TableOptions(None, ("kg", "age"), "regression"))
    data = load_data(table, options=options)
    assert data.value_names == ("kg", "age")
    assert data.train.images.shape == (6, 16, 20, 3)
    np.testing.assert_array_equal(data.train.targets[:3], [[0, 0], [0.5, 1], [1.5, 3]])


def test_images_by_name_with_several_labels(class_folder: Path) -> None:
    table = class_folder / "tags.jsonl"
    table.write_text(
        '{"image": "cat/0.png", "labels": ["indoor", "pet"]}\n'
        '{"image": "dog/1.png", "labels": []}\n{"image": "dog/2.png", "labels": ["pet"]}\n'
    )
    data = load_data(table)
    assert (data.task, data.classes) == ("multi-label", ("indoor", "pet"))
    assert data.count_classes(data.train) == {"indoor": 1, "pet": 2}


def test_a_missing_image_is_refused_or_left_out(class_folder: Path) -> None:
    table = class_folder / "all.csv"
    table.write_text("file,label\ncat/0.png,a\ncat/9.png,b\ndog/0.png,b\n")
    with pytest.raises(DataSetInvalid, match=r"cat/9\.png"):
        load_data(table)
    data = load_data(table, on_unreadable="skip")
    assert data.train.labels.tolist() == [0, 1]
    assert "9.png" in data.skipped[0]


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "a/../../secret.png"])
def test_a_file_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "table.csv").write_text(f"file,label\n{name},a\n{name},b\n")
    with pytest.raises(DataSetInvalid, match="not a file inside"):
        load_data(tmp_path / "table.csv")


def test_one_class_cannot_be_learned(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\none,x\ntwo,x\n")
    with pytest.raises(DataSetInvalid, match="holds 1 class"):
        load_data(tmp_path)


def test_which_tables_a_folder_offers(tmp_path: Path) -> None:
    assert find_tables(tmp_path) is None
    (tmp_path / "reviews.csv").touch()
    assert find_tables(tmp_path) == (tmp_path / "reviews.csv", None)
    (tmp_path / "more.csv").touch()
    assert find_tables(tmp_path) is None
    (tmp_path / "train.csv").touch()
    (tmp_path / "test.tsv.gz").touch()
    assert find_tables(tmp_path) == (tmp_path / "train.csv", tmp_path / "test.tsv.gz")


def test_class_folders_have_priority_over_a_table(class_folder: Path) -> None:
    (class_folder / "notes.csv").write_text("text\nnothing\n")
    assert load_data(class_folder).classes == ("cat", "dog")


def test_a_table_without_targets_is_unlabelled(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\none\ntwo\n")
    data = load_table(tmp_path / "a.csv")
    assert (data.task, data.classes, data.train.targets.shape) == ("unlabelled", (), (2, 0))


@pytest.mark.slow
@pytest.mark.long
def test_film_reviews(data_root: Path) -> None:
    if not (data_root / "imdb").is_dir():
        pytest.skip("MODELPAD_DATA has no imdb/")
    data = load_data("imdb", roots=[data_root])
    assert data.test is not None
    assert data.train.kind == TextInput()
    assert data.count_classes(data.test) == {"negative": 12_500, "positive": 12_500}


def test_a_column_of_groups(tmp_path: Path) -> None:
    table = tmp_path / "notes.csv"
    table.write_text("text,label,patient\na,x,p1\nb,y,p2\nc,x,p1\nd,y,\ne,y,\n", "utf-8")
    options = LoadOptions(table=TableOptions(group_column="patient"))
    groups = load_table(table, options=options).train.groups
    assert groups is not None
    assert groups.tolist() == [0, 1, 0, 2, 3]
    assert load_table(table).train.groups is None
    with pytest.raises(DataSetInvalid, match="no column 'doctor'"):
        load_table(table, options=LoadOptions(table=TableOptions(group_column="doctor")))


def test_missing_files_are_counted_and_three_named(tmp_path: Path) -> None:
    names = ["a.png", "b.png", "c" * 300 + ".png", "d.png"]
    table = tmp_path / "all.csv"
    table.write_text("file,label\n" + "".join(f"{name},x\n" for name in names) + "e.png,y\n")
    with pytest.raises(DataSetInvalid, match=r"5 of the 5 .* a.png, b.png, c+.png and 2 more"):
        load_table(table)
