"""`modelpad predict`: a line or a record of JSON for each file."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle
from tests.table_bundles import write_tables

ROWS = 'city,age,income (k)\nBern,30,80\nGenf,30,80\n"Basel",,20\n'


def test_predict_answers_a_line_a_file(run_modelpad: Any, digits: Bundle) -> None:
    files = [str(digits.path(f"samples/{number}.png")) for number in range(3)]
    done = run_modelpad("predict", "digits", *files)
    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == files
    assert [line[1] for line in lines] == ["0", "1", "2"]
    assert all(line[3] == "%" for line in lines)


def test_predict_json_has_all_scores(run_modelpad: Any, seven: str) -> None:
    answer = json.loads(run_modelpad("predict", "digits", seven, "--json").stdout)
    assert answer["label"] == "7"
    assert len(answer["scores"]) == 10


def test_predict_goes_on_after_a_bad_file(run_modelpad: Any, seven: str, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("text")
    done = run_modelpad("predict", "digits", "no.png", "missing.png", seven)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert "no.png" in done.stderr
    assert "missing.png" in done.stderr


@pytest.fixture
def loan(tmp_path: Path) -> str:
    """A bundle whose inputs are the columns of `rows.csv`."""
    (tmp_path / "rows.csv").write_text(ROWS, "utf-8")
    return str(write_tables(tmp_path / "bundles")[0])


def test_predict_adds_columns_to_a_csv(run_modelpad: Any, loan: str) -> None:
    done = run_modelpad("predict", loan, "rows.csv")
    rows = [*csv.DictReader(io.StringIO(done.stdout))]
    assert [*rows[0]] == ["city", "age", "income (k)", "label", "confidence", "error"]
    assert [row["label"] for row in rows] == ["accept", "", "reject"]
    assert "Bern, Basel, Zürich" in rows[1]["error"]
    assert done.returncode == 1
    assert "1 of 3 rows" in done.stderr


def test_predict_writes_a_csv_in_place(run_modelpad: Any, loan: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(ROWS.replace("Genf", "Bern"), "utf-8-sig")
    done = run_modelpad("predict", loan, "rows.csv", "-o", "rows.csv")
    assert (done.returncode, done.stdout) == (0, "")
    assert "3 rows" in done.stderr
    rows = [*csv.DictReader(io.StringIO(path.read_text("utf-8")))]
    assert [row["label"] for row in rows] == ["accept", "accept", "reject"]
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == ["rows.csv"]


def test_predict_writes_a_csv_as_json_lines(run_modelpad: Any, loan: str) -> None:
    done = run_modelpad("predict", loan, "rows.csv", "--json")
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert (first["row"], first["label"], third["label"]) == (1, "accept", "reject")
    assert second["error"]["field"] == "city"
    assert "label" not in second


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"city,age\n", "Missing columns: 'income (k)'"),
        (b"", "is empty"),
        ("city,age".encode("utf-16"), "UTF-8"),
        (None, "cannot be read"),
    ],
    ids=["missing", "empty", "utf-16", "no file"],
)
def test_predict_explains_a_wrong_csv(
    run_modelpad: Any, loan: str, tmp_path: Path, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "wrong.csv").write_bytes(content)
    done = run_modelpad("predict", loan, "wrong.csv", "-o", "out.csv")
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_predict_takes_several_inputs_as_an_object(run_modelpad: Any, loan: str) -> None:
    item = {"income (k)": 80, "age": None, "city": "Bern"}
    assert run_modelpad("predict", loan, json.dumps(item)).stdout.split()[-3] == "accept"
    done = run_modelpad("predict", loan, "[80, 30]")
    assert done.returncode == 1
    assert "income (k), age, city" in done.stderr


def test_an_output_file_is_for_one_csv(run_modelpad: Any, loan: str) -> None:
    done = run_modelpad("predict", loan, "rows.csv", "{}", "-o", "out.csv")
    assert done.returncode == 2
    assert "one CSV" in done.stderr
