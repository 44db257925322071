"""`modelpad predict`: a line or a record of JSON for each file."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle
from modelpad.fields import Image, Score, Signature
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


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux")
def test_names_of_files_need_not_be_text(run_modelpad: Any, seven: str, tmp_path: Path) -> None:
    shutil.copy(seven, tmp_path / "bad\udcff\x1b[31m.png")
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    done = run_modelpad("predict", "digits", "bad\udcff\x1b[31m.png", **strict)
    assert done.stdout.startswith("bad\ufffd\ufffd[31m.png  7  ")
    done = run_modelpad("predict", "digits", "bad\udcff\x1b[31m.png", "--format", "csv", **strict)
    assert "bad\\udcff" in done.stdout


def test_predict_json_has_all_scores(run_modelpad: Any, seven: str) -> None:
    answer = json.loads(run_modelpad("predict", "digits", seven, "--json").stdout)
    assert answer["label"] == "7"
    assert len(answer["scores"]) == 10


def test_predict_goes_on_after_a_bad_file(run_modelpad: Any, seven: str, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("text")
    done = run_modelpad("predict", "digits", "no.png", "missing.png", "", seven)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert "no.png" in done.stderr
    assert "missing.png" in done.stderr
    assert "'': The file cannot be read" in done.stderr


@pytest.fixture
def pipe(run_modelpad: Any) -> Any:
    """Runs the command line with a text on standard input."""
    return lambda text, *arguments: run_modelpad(*arguments, input=text)


@pytest.fixture
def photo_twice(build_bundle: Any, tmp_path: Path) -> str:
    """A bundle that returns a picture and a number; `photo.png` is an input."""
    from onnx import TensorProto, helper
    from PIL import Image as Picture

    Picture.new("RGB", (4, 4), "red").save(tmp_path / "photo.png")
    nodes = [
        helper.make_node("Identity", ["photo"], ["same"]),
        helper.make_node("ReduceMax", ["photo"], ["brightest"], axes=[1, 2, 3], keepdims=0),
    ]
    number = TensorProto.FLOAT
    return str(
        build_bundle(
            tmp_path / "bundles",
            "twice",
            nodes,
            [("photo", number, [4, 4, 3])],
            [("same", number, [4, 4, 3]), ("brightest", number, [])],
            Signature((Image("photo", 4, 4),), (Image("same", 4, 4), Score("brightest"))),
        ).folder
    )


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


PIPED = {
    "JSON lines": '{"income (k)": 80, "age": null, "city": "Bern"}\n' * 2,
    "JSON on several lines": '{"income (k)": 80,\n "age": null, "city": "Bern"}\n',
    "CSV": "city,age,income (k)\nBern,30,80\n",
}


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("JSON lines", '{"input": "-", "model": "loan", "version": 1, "row": 1, "label": "accept"'),
        ("JSON on several lines", "-  accept  100.0 %"),
        ("CSV", "city,age,income (k),label,confidence,error\nBern,30,80,accept,1.0,\n"),
    ],
)
def test_standard_input_may_be_csv_or_json(pipe: Any, loan: str, form: str, start: str) -> None:
    done = pipe(PIPED[form], "predict", loan, "-")
    assert done.stdout.startswith(start)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_piped_text_is_one_text_unless_said_otherwise(pipe: Any) -> None:
    whole = json.loads(pipe("a wonderful film\n", "predict", "reviews", "-", "--json").stdout)
    lines = '{"text": "a wonderful film"}\n"x"\n'
    done = pipe(lines, "predict", "reviews", "-", "--input-format", "jsonl")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["scores"], second["row"]) == (whole["scores"], 2)
    done = pipe("no", "predict", "reviews", "-", "-")
    assert (done.returncode, "only once" in done.stderr) == (2, True)


def test_json_lines_go_on_after_a_bad_one(
    run_modelpad: Any, digits: Bundle, seven: str, tmp_path: Path
) -> None:
    lines = [json.dumps({"image": seven}), "{", json.dumps({"image": "missing.png"})]
    (tmp_path / "items.jsonl").write_text("\n".join(lines))
    done = run_modelpad("predict", "digits", "items.jsonl")
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, first["label"], first["row"]) == (1, "7", 1)
    assert "not valid JSON" in second["error"]["message"]
    assert third["error"]["field"] == "image"
    assert "2 of 3 rows" in done.stderr


def test_the_only_input_may_be_named(run_modelpad: Any, bundles: Path, seven: str) -> None:
    done = run_modelpad("predict", str(bundles / "pick"), '{"row": [0, 5, 0]}')
    assert done.stdout.split()[-3] == "b"
    done = run_modelpad("predict", "digits", json.dumps({"image": seven}))
    assert done.stdout.split()[-3] == "7"


def test_any_input_can_be_written_as_csv_or_json(
    run_modelpad: Any, seven: str, tmp_path: Path
) -> None:
    done = run_modelpad("predict", "digits", seven, "no.png", "-o", "out.csv")
    assert (done.returncode, done.stdout) == (1, "")
    first, second = csv.DictReader((tmp_path / "out.csv").open())
    assert (first["input"], first["label"], first["error"]) == (seven, "7", "")
    assert "cannot be read" in second["error"]
    records = json.loads(run_modelpad("predict", "digits", seven, seven, "--format", "json").stdout)
    assert [record["label"] for record in records] == ["7", "7"]
    done = run_modelpad("predict", "digits", seven, "--format", "png")
    assert (done.returncode, "jsonl" in done.stderr) == (2, True)


def test_one_csv_has_the_columns_of_one(run_modelpad: Any, loan: str, tmp_path: Path) -> None:
    item = '{"income (k)": 80, "age": null, "city": "Bern"}'
    done = run_modelpad("predict", loan, "rows.csv", item, "-o", "out.csv")
    assert done.returncode == 2
    assert "different columns" in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_pictures_among_outputs_go_to_a_folder(
    run_modelpad: Any, photo_twice: str, tmp_path: Path
) -> None:
    done = run_modelpad("predict", photo_twice, "photo.png", "-o", "out/", "--json")
    assert json.loads(done.stdout)["outputs"]["same"] == "out/photo-same.png"
    assert (tmp_path / "out/photo-same.png").read_bytes().startswith(b"\x89PNG")
    shown = run_modelpad("predict", photo_twice, "photo.png").stdout
    assert "base64" not in shown
    assert "a picture of" in shown


def test_labels_go_to_no_folder(run_modelpad: Any, seven: str, tmp_path: Path) -> None:
    done = run_modelpad("predict", "digits", seven, "-o", "out/")
    assert (done.returncode, done.stdout) == (2, "")
    assert "-o out/ is a folder, for pictures." in done.stderr
    assert "-o predictions.csv" in done.stderr
    assert not (tmp_path / "out").exists()
