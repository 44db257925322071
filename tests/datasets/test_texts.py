"""Texts in folders of .txt files, in tables, and in IMDB's files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from modelpad.datasets import LoadOptions, TableOptions, TextInput, load_data
from modelpad.datasets.imdb import break_lines
from modelpad.errors import DataSetInvalid, DataSetNotFound


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_mail(folder: Path) -> Path:
    for name in ("ham", "spam"):
        for index in range(3):
            write(folder / name / f"{index}.txt", f"{name} {index}")
    return folder


# Folders.


def test_sub_folders_are_the_classes_of_texts(tmp_path: Path) -> None:
    data = load_data(write_mail(tmp_path / "mail"))
    assert (data.name, data.task, data.classes) == ("mail", "classification", ("ham", "spam"))
    assert data.train.kind == TextInput()
    assert [text for text, _ in data.train] == [
        f"{name} {index}" for name in ("ham", "spam") for index in range(3)
    ]
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_splits_and_texts_without_a_class(tmp_path: Path) -> None:
    write_mail(tmp_path / "mail" / "train")
    write(tmp_path / "mail" / "train" / "unsup" / "1.txt", "neither")
    write(tmp_path / "mail" / "test" / "spam" / "9.txt", "more spam")
    data = load_data(tmp_path / "mail")
    assert data.classes == ("ham", "spam")
    assert data.test is not None
    assert data.unlabelled is not None
    assert [text for text, _ in data.unlabelled] == ["neither"]
    assert data.test.labels.tolist() == [1]


def test_texts_beside_each_other_have_no_classes(tmp_path: Path) -> None:
    write(tmp_path / "letters" / "a.txt", "\ufeffDear Ada,\r\nyes.")
    write(tmp_path / "letters" / "old" / "b.txt", "Dear Bob,")
    data = load_data(tmp_path / "letters")
    assert data.task == "unlabelled"
    assert [text for text, _ in data.train] == ["Dear Ada,\nyes.", "Dear Bob,"]


def test_a_single_text(tmp_path: Path) -> None:
    data = load_data(write(tmp_path / "novel.txt", "It was a dark night."))
    assert (data.name, len(data.train)) == ("novel", 1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        ("Größe".encode("latin-1"), "byte 2 is not UTF-8"),
        (b"one\0two", "zero bytes"),
        (b"\x89PNG\r\n\x1a\n", "byte 0 is not UTF-8"),
    ],
)
def test_a_file_that_is_no_text_is_named_refused_or_skipped(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    folder = write_mail(tmp_path / "mail")
    bad = write(folder / "spam" / "bad.txt", content)
    with pytest.raises(DataSetInvalid, match=problem) as raised:
        load_data(folder)
    assert str(bad) in raised.value.message
    assert "--skip-unreadable" in raised.value.hint
    data = load_data(folder, on_unreadable="skip")
    assert len(data.train) == 6
    assert len(data.skipped) == 1
    assert data.skipped[0].startswith("spam/bad.txt: ")


def test_a_folder_without_a_readable_text(tmp_path: Path) -> None:
    write(tmp_path / "letters" / "a.txt", b"")
    with pytest.raises(DataSetInvalid, match="holds no text that can be read"):
        load_data(tmp_path / "letters", on_unreadable="skip")


def test_a_class_that_only_the_test_has(tmp_path: Path) -> None:
    write_mail(tmp_path / "mail" / "train")
    write(tmp_path / "mail" / "test" / "news" / "1.txt", "news")
    with pytest.raises(DataSetInvalid, match="news"):
        load_data(tmp_path / "mail")


# Tables.

TICKETS = LoadOptions(table=TableOptions("body", ("team",), "classification"))


def test_a_table_with_named_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "tickets.csv", "body,team\nIt burns,fire\nIt drips,water\n")
    data = load_data(path, options=TICKETS)
    assert (data.classes, data.train.kind) == (("fire", "water"), TextInput())


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("tickets.csv", "body,team\nIt burns,fire\nIt drips,\n", "Row 2 has ''"),
        ("tickets.csv", "body,group\nIt burns,fire\nIt drips,water\n", "team"),
        ("tickets.csv", "text,team\nIt burns,fire\nIt drips,water\n", "body"),
        ("tickets.jsonl", '{"body": "It burns", "team": "fire"}\n{"body": "It drips"}\n', "team"),
        ("tickets.csv", "Größe,team\nx,fire\n".encode("latin-1"), "UTF-8"),
        ("tickets.csv", "", ""),
    ],
    ids=["no label", "no column of labels", "no column of texts", "no key", "not UTF-8", "empty"],
)
def test_a_bad_table_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: str | bytes, problem: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DataSetInvalid) as raised:
        load_data(path, options=TICKETS)
    assert problem in raised.value.message + raised.value.hint
    assert raised.value.hint


# IMDB.


def write_reviews(folder: Path) -> Path:
    for name in ("train", "test", "unsup"):
        rows = [
            {"text": f"{name}<br /><br />good", "label": "pos"},
            {"text": "bad", "label": "neg"},
        ]
        if name == "unsup":
            rows = [{"text": row["text"]} for row in rows]
        lines = "\n".join(map(json.dumps, rows))
        write(folder / f"{name}.jsonl.gz", gzip.compress(lines.encode()))
    return folder


def test_imdb_is_read_with_its_line_breaks(tmp_path: Path) -> None:
    write_reviews(tmp_path / "imdb")
    data = load_data("imdb", roots=[tmp_path])
    assert (data.name, data.task) == ("imdb", "classification")
    assert data.classes == ("negative", "positive")
    assert data.test is not None
    assert data.unlabelled is not None
    assert [text for text, _ in data.train] == ["train\n\ngood", "bad"]
    assert [text for text, _ in data.unlabelled] == ["unsup\n\ngood", "bad"]
    assert data.train.labels.tolist() == data.test.labels.tolist() == [1, 0]


def test_imdb_says_which_file_is_missing(tmp_path: Path) -> None:
    folder = write_reviews(tmp_path / "imdb")
    (folder / "unsup.jsonl.gz").unlink()
    with pytest.raises(DataSetNotFound, match=r"unsup\.jsonl\.gz"):
        load_data("imdb", roots=[tmp_path])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one<br>two", "one\ntwo"),
        ("one <br /><br />two", "one\n\ntwo"),
        ("one<BR/> <br /> <br>two", "one\n\ntwo"),
        ("<br />one < two", "one < two"),
    ],
)
def test_html_line_breaks_become_real_ones(text: str, expected: str) -> None:
    assert break_lines(text) == expected
