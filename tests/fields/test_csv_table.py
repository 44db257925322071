"""CSV rows as values of fields, and outputs as cells."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields import Blend, Choice, Field, Label, Number, Score, Signature, Tensor, Text
from modelpad.fields.csv_table import CsvTable, RowReader, parse_row, read_samples, write_row

AGE, CITY = Number("age"), Choice("city", ("Bern", "Basel"))
RISK = Label("risk", ("low", "high"))


def open_table(header: str, *outputs: Field) -> CsvTable:
    return CsvTable.open(header, Signature((AGE, CITY), outputs or (RISK,)))


CELLS = st.text('aé界\U0001f600 ;",\r\n', max_size=6) | st.sampled_from(
    ['"', '""', ",", "\n", "\r\n", 'a"b', '"a', "a\n\nb"]
)


@settings(deadline=None)
@given(st.lists(st.lists(CELLS, min_size=2, max_size=3), max_size=5))
def test_rows_are_split_as_they_were_written(rows: list[list[str]]) -> None:
    reader = RowReader()
    text = "".join(write_row(row) for row in rows)
    found = [row for line in text.split("\n")[:-1] if (row := reader.add(line)) is not None]
    assert [parse_row(row) for row in found] == rows
    assert not reader.lines


@settings(deadline=None)
@given(st.text('a",\n', max_size=12))
def test_rows_are_split_as_the_csv_module_does(text: str) -> None:
    reader = RowReader()
    found = [reader.add(line) for line in text.split("\n")]
    rows = [row for row in [*found, reader.finish()] if row is not None]
    parsed = [next(csv.reader([row]), []) for row in rows]
    expected = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    assert [row for row in parsed if row] == expected


@pytest.mark.parametrize("row", ['"a"b,c', 'a,"b', "a\ud800", "a\rb", "x" * 200_000])
def test_an_invalid_row_is_explained(row: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        parse_row(row)


@pytest.mark.parametrize("header", ["age,city", "city,age\r", '\ufeff"age",city', " age , city"])
def test_the_header_may_have_any_order(header: str) -> None:
    table = open_table(header)
    cells = ["Bern", "3"] if header.startswith("city") else ["3", "Bern"]
    assert table.read(cells) == {"age": "3", "city": "Bern"}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("age,town", ["Unknown columns: 'town'", "Missing columns: 'city'", "age, city"]),
        ("age", ["Missing columns: 'city'"]),
        ("age,city,age", ["Duplicate columns: 'age'"]),
        (",age,city", ["Unknown columns: ''", "index=False"]),
        ("age;city", ["semicolons", "commas"]),
        ("age\tcity", ["tabs", "commas"]),
        ("", ["Missing columns: 'age', 'city'"]),
    ],
)
def test_a_wrong_header_is_explained(header: str, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_table(header)
    for word in words:
        assert word in caught.value.words


def test_columns_with_a_default_may_be_missing() -> None:
    style, strength = Blend("style", ("wave", "scream")), Number("strength", default=0.5)
    signature = Signature((Number("age"), style, strength), (Score("risk"),))
    table = CsvTable.open("strength,age", signature)
    assert table.read(["0.25", "30"]) == {"strength": "0.25", "age": "30"}
    with pytest.raises(InvalidInput, match="Missing columns: 'age'"):
        CsvTable.open("style", signature)


def test_a_row_of_another_length_is_rejected() -> None:
    with pytest.raises(InvalidInput, match="3 cells; the header has 2"):
        open_table("age,city").read(["1", "2", "3"])


def test_an_only_label_has_a_label_and_a_confidence() -> None:
    table = open_table("age,city")
    assert table.write_header() == "age,city,label,confidence,error\n"
    outputs = {"risk": RISK.encode(np.array([0.25, 0.75]))}
    assert table.write(["3", "a,b"], outputs) == '3,"a,b",high,0.75,\n'
    assert table.write_error(["3"], "too short") == "3,,,,too short\n"


def test_several_labels_are_in_one_cell() -> None:
    tags = Label("tags", ("cat", "dog", "red"), multiple=True)
    table = open_table("age,city", tags)
    table.write_header()
    outputs = {"tags": tags.encode(np.array([0.75, 0.5, 0.25]))}
    assert table.write(["3", "x"], outputs) == "3,x,cat|dog,0.75,\n"


def test_several_outputs_have_columns_of_their_own() -> None:
    outputs = (
        RISK,
        Score("price"),
        Text("note"),
        Tensor("parts", shape=(2,)),
        Tensor("t", shape=()),
    )
    table = open_table("age,city", *outputs, Tensor("grid", shape=(1, 2)))
    header = "risk,risk_confidence,price,note,parts_0,parts_1,t,grid"
    assert table.write_header() == f"age,city,{header},error\n"
    values = {
        "risk": {"label": "low", "confidence": 0.5, "scores": {}},
        "price": 2.5,
        "note": "a\nb",
        "parts": [1.5, 2.0],
        "t": 7,
        "grid": [[1, 2]],
    }
    assert parse_row(table.write(["1", "2"], values)) == [
        *("1", "2", "low", "0.5", "2.5", "a\nb", "1.5", "2.0", "7", "[[1, 2]]", "")
    ]


def test_an_output_named_as_an_input_gets_another_name() -> None:
    signature = Signature((Number("price"),), (Score("price"),))
    table = CsvTable.open("price", signature)
    assert table.write_header() == "price,predicted_price,error\n"


def test_an_array_fits_no_cell() -> None:
    table = open_table("age,city", Tensor("grid", shape=(None,)))
    with pytest.raises(TooLarge, match="too large for a cell"):
        table.write(["1", "2"], {"grid": np.zeros(40_000)})


def test_a_cell_of_a_tensor_is_json() -> None:
    signature = Signature((Tensor("row", shape=(2,)),), (Score("y"),))
    table = CsvTable.open("row", signature)
    assert table.read(["[1, 2.5]"]) == {"row": [1, 2.5]}
    with pytest.raises(InvalidInput, match="not JSON"):
        table.read(["one"])


def test_samples_are_json_values_and_other_columns_are_ignored() -> None:
    fields = (Number("age", nullable=True), Choice("grade", (1, 2)), Text("note"))
    lines = [
        "\ufeffnote,target,grade, age\r\n",
        '"a\n',
        'b",yes,2,30.5\n',
        "c,no,1.0,\n",
        "x,y,1,1\n",
    ]
    assert read_samples(lines, fields, 2) == [
        {"age": 30.5, "grade": 2, "note": "a\nb"},
        {"age": None, "grade": 1, "note": "c"},
    ]
    for wrong, words in (["note,grade"], "'age'"), (["note;grade;age"], "semicolons"), ([], "age"):
        with pytest.raises(InvalidInput, match=words):
            read_samples(wrong, fields, 2)
    with pytest.raises(InvalidInput, match="'grade'"):
        read_samples(["note,grade,age", "a,7,1"], fields, 2)
