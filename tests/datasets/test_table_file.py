"""CSV, TSV and JSON Lines, and every way that one can be damaged."""

from __future__ import annotations

import csv
import gzip
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpad.datasets import table_file
from modelpad.datasets.table_file import is_table, read_column_names, read_columns
from modelpad.errors import DataSetInvalid


def write(path: Path, text: str) -> Path:
    body = text.encode()
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)
    return path


def read_both(path: Path) -> None:
    read_column_names(path)
    read_columns(path, ["text", "label"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'text,label\n"one, and\nmore",x\n\ntwo,y\n'),
        ("a.csv", '\ufefftext,label\r\n"one, and\nmore",x\r\ntwo,y'),
        ("a.tsv", 'text\tlabel\n"one, and\nmore"\tx\ntwo\ty\n'),
        ("a.jsonl", '{"text":"one, and\\nmore","label":"x","z":[1]}\n\n{"text":"two","label":"y"}'),
        ("a.csv.gz", 'text,label\n"one, and\nmore",x\ntwo,y\n'),
        ("A.JSONL.GZ", '{"text":"one, and\\nmore","label":"x"}\n{"text":"two","label":"y"}\n'),
    ],
)
def test_columns_are_read(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path / name, text)
    assert is_table(path)
    assert read_column_names(path)[:2] == ("text", "label")
    columns = read_columns(path, ["text", "label"])
    assert [cell.replace("\r", "") for cell in columns["text"]] == ["one, and\nmore", "two"]  # type: ignore[union-attr]
    assert columns["label"] == ["x", "y"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "no rows"),
        ("a.csv", "text,label\n", "no rows"),
        ("a.csv", "text,text\na,b\n", "distinct column names"),
        ("a.csv", "text,label\nonly\n", "1 cells in line 2 but 2 columns"),
        ("a.csv", 'text,label\n"open,x\n', "line 2"),
        ("a.csv", "words,label\na,b\n", "row 1: the column 'text' is missing"),
        ("a.jsonl", '{"text":"a","label":1}\n[1]\n', "line 2 is not an object"),
        ("a.jsonl", '{"text":"a","label":1}\n{"text":', "line 2"),
        ("a.jsonl", '{"text":"a","label":1}\n{"text":"b"}\n', "row 2: the column 'label'"),
        ("a.jsonl", '{"text":"a","label":{"x":1}}\n', "cannot be used"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(DataSetInvalid, match=message):
        read_both(path)


def test_files_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text\n\xff\xfe\n")
    with pytest.raises(DataSetInvalid, match="UTF-8"):
        read_columns(tmp_path / "a.csv", ["text"])
    whole = gzip.compress(b"text\n" + b"words\n" * 1000)
    (tmp_path / "b.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataSetInvalid, match="truncated"):
        read_columns(tmp_path / "b.csv.gz", ["text"])
    with pytest.raises(DataSetInvalid, match="cannot be read"):
        read_columns(tmp_path / "missing.csv", ["text"])


def test_a_gzip_bomb_meets_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_file, "MAX_LINE_CHARACTERS", 10_000)
    monkeypatch.setattr(table_file, "MAX_CONTENT_BYTES", 50_000)
    with pytest.raises(DataSetInvalid, match="a line of more than 10,000 characters"):
        read_columns(write(tmp_path / "a.csv.gz", "text\n" + "x" * 1_000_000), ["text"])
    with pytest.raises(DataSetInvalid, match="more than 50,000"):
        read_columns(write(tmp_path / "b.csv.gz", "text\n" + "words\n" * 100_000), ["text"])


def test_a_long_cell_is_read_and_the_limit_of_others_kept(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    path = write(tmp_path / "a.csv", "text\n" + "x" * 500_000 + "\n")
    assert len(str(read_columns(path, ["text"])["text"][0])) == 500_000
    assert csv.field_size_limit() == before


@given(st.binary(max_size=300), st.sampled_from(["a.csv", "a.tsv", "a.jsonl"]))
def test_rubbish_is_read_or_refused_never_anything_else(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(body)
    with suppress(DataSetInvalid):
        read_columns(path, read_column_names(path))
