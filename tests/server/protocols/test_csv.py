"""CSV in, CSV out: `POST /predict/{model}` with content-type text/csv."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import start_server, stop_server
from tests.table_bundles import write_tables

CSV = {"content-type": "text/csv"}
HEADER = "income (k),age,city\n"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the tables' models."""
    folder = tmp_path_factory.mktemp("tables")
    names = [str(path) for path in write_tables(folder)]
    server = start_server(*names, "--workers", "1", store=tmp_path_factory.mktemp("store"))
    yield server.url
    stop_server(server)


def ask(url: str, body: str | bytes, model: str = "loan", **headers: str) -> httpx.Response:
    content = body.encode() if isinstance(body, str) else body
    head = CSV | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{url}/predict/{model}", content=content, headers=head, timeout=60)


def read(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return [*csv.DictReader(io.StringIO(answer.text, newline=""))]


def test_each_row_gets_its_prediction(tables: str) -> None:
    rows = read(ask(tables, HEADER + "80,30,Bern\n20,,Zürich\n"))
    assert [*rows[0]] == ["income (k)", "age", "city", "label", "confidence", "error"]
    assert [(row["income (k)"], row["age"], row["city"]) for row in rows] == [
        ("80", "30", "Bern"),
        ("20", "", "Zürich"),
    ]
    assert [row["label"] for row in rows] == ["accept", "reject"]
    assert float(rows[0]["confidence"]) == 1
    assert {row["error"] for row in rows} == {""}


def test_columns_may_have_any_order_and_excels_marks(tables: str) -> None:
    body = '\ufeff"city","age","income (k)"\r\n"Basel","21","64.5"\r\n\r\n"Bern","22","1"'
    rows = read(ask(tables, body))
    assert [(row["city"], row["label"]) for row in rows] == [
        ("Basel", "accept"),
        ("Bern", "reject"),
    ]


def test_several_outputs_are_several_columns(tables: str) -> None:
    (row,) = read(ask(tables, "grade,income (k)\n7,1.5\n", "price"))
    assert row == {
        "grade": "7",
        "income (k)": "1.5",
        "price": "10.5",
        "parts_0": "1.5",
        "parts_1": "7.0",
        "note": 'say "hi", please',
        "error": "",
    }


def test_a_row_that_fails_has_its_own_error(tables: str) -> None:
    body = HEADER + "80,30,Bern\n80,30,Genf\n1e9,30,Bern\n,30,Bern\n80,30\n80,1.5,Bern\n60,,Bern\n"
    rows = read(ask(tables, body))
    assert [row["label"] for row in rows] == ["accept", *[""] * 5, "accept"]
    errors = [row["error"] for row in rows[1:6]]
    for error, words in zip(
        errors, ["'city'", "range", "missing", "2 cells", "whole"], strict=True
    ):
        assert words in error
    assert "Bern, Basel, Zürich" in errors[0]
    assert [row["city"] for row in rows[:4]] == ["Bern", "Genf", "Bern", "Bern"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("income (k),age,town\n1,2,Bern\n", ["'town'", "'city'"]),
        ("income (k),age\n", ["Missing columns: 'city'"]),
        (",income (k),age,city\n0,1,2,Bern\n", ["index=False"]),
        ("income (k);age;city\n1;2;Bern\n", ["semicolons"]),
        ("", ["The CSV is empty"]),
        ("\n\n", ["The CSV is empty"]),
        ("income (k),age,city\n".encode("utf-16"), ["UTF-8"]),
        ('"income (k),age,city\n1,2,Bern\n', ["cannot be read"]),
    ],
    ids=range(8),
)
def test_a_wrong_header_is_422(tables: str, body: str | bytes, words: list[str]) -> None:
    answer = ask(tables, body)
    assert answer.status_code == 422
    error = answer.json()["error"]
    for word in words:
        assert word in f"{error['message']} {error['hint']}"


def test_compressed_rows_are_read_whole_and_not_streamed(tables: str) -> None:
    body = gzip.compress((HEADER + "80,30,Bern\n").encode())
    headers = CSV | {"content-encoding": "gzip"}
    url = f"{tables}/predict/loan"
    assert read(httpx.post(url, content=body, headers=headers))[0]["label"] == "accept"
    streamed = httpx.post(url, content=iter([body]), headers=headers)
    assert (streamed.status_code, "gzip" in streamed.text) == (422, True)


def test_rows_may_be_streamed(tables: str) -> None:
    def parts() -> Iterator[bytes]:
        yield b'income (k),age,"ci'
        yield 'ty"\n80,30,Zü'.encode()[:-1]
        yield "ü".encode()[1:] + b"rich\r\n20,30,Bern"

    answer = httpx.post(f"{tables}/predict/loan", content=parts(), headers=CSV)
    assert [row["label"] for row in read(answer)] == ["accept", "reject"]


def test_only_utf8_is_read(tables: str) -> None:
    body = (HEADER + "80,30,Bern\n").encode()
    latin = httpx.post(
        f"{tables}/predict/loan",
        content=body,
        headers={"content-type": "text/csv; charset=iso-8859-1"},
    )
    assert (latin.status_code, "UTF-8" in latin.text) == (422, True)
    upper = {"content-type": 'text/csv; header=present; charset="UTF-8"'}
    assert httpx.post(f"{tables}/predict/loan", content=body, headers=upper).status_code == 200
    (row, last) = read(ask(tables, HEADER.encode() + b"80,30,Z\xfcrich\n80,30,Bern\n"))
    assert "UTF-8" in row["error"]
    assert last["label"] == "accept"


def test_the_answer_may_be_json(tables: str) -> None:
    body = HEADER + "80,30,Bern\n80,30,Genf\n"
    answer = ask(tables, body, accept="application/json")
    assert answer.headers["content-type"] == "application/json"
    record = answer.json()
    assert (record["model"], record["version"]) == ("loan", 1)
    first, second = record["predictions"]
    assert first["label"] == "accept"
    assert second["error"]["field"] == "city"
    lines = ask(tables, body, accept="application/x-ndjson")
    assert [*map(json.loads, lines.text.splitlines())] == record["predictions"]
    assert ask(tables, HEADER, accept="application/json").json()["predictions"] == []


def test_a_header_alone_is_answered_with_a_header(tables: str) -> None:
    assert ask(tables, HEADER).text == "income (k),age,city,label,confidence,error\n"


def test_quoted_cells_may_have_line_breaks(protocols: str) -> None:
    text = 'one, "two"\n\nthree'
    body = io.StringIO()
    csv.writer(body).writerows([["words"], [text], ["b"]])
    rows = read(ask(f"http://{protocols}", body.getvalue(), "echo"))
    assert [(row["words"], row["same"]) for row in rows] == [(text, text), ("b", "b")]


def test_a_cell_of_a_tensor_is_json(protocols: str) -> None:
    (row,) = read(ask(f"http://{protocols}", 'row\n"[0, 5, 0]"\n', "pick"))
    assert row["label"] == "b"


def test_a_form_has_numbers_as_text(tables: str) -> None:
    form = {"income (k)": (None, "80"), "age": (None, ""), "city": (None, "Bern")}
    answer = httpx.post(f"{tables}/predict/loan", files=form)
    assert answer.json()["label"] == "accept"


def test_json_numbers_and_null_are_values(tables: str) -> None:
    item = {"income (k)": 80, "age": None, "city": "Bern"}
    assert httpx.post(f"{tables}/predict/loan", json=item).json()["label"] == "accept"
    answer = httpx.post(f"{tables}/predict/loan", json=item | {"income (k)": None})
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "income (k)"


def test_an_open_quote_ends_the_answer_with_an_error(tables: str) -> None:
    body = HEADER + '80,30,Bern\n80,30,"Bern\n' + "80,30,Bern\n" * 200_000
    first, last = read(ask(tables, body))
    assert first["label"] == "accept"
    assert "row" in last["error"]


@pytest.mark.slow
def test_a_client_may_send_everything_before_it_reads(tables: str) -> None:
    """Eleven megabytes are more than the sockets hold, so the body must be read first."""
    wrong = "80,30,Genf-" + "x" * 200 + "\n"
    rows = read(ask(tables, HEADER + "80,30,Bern\n" + wrong * 50_000 + "20,30,Bern\n"))
    assert len(rows) == 50_002
    assert (rows[0]["label"], rows[1]["label"], rows[-1]["label"]) == ("accept", "", "reject")


def test_the_api_description_names_csv(tables: str) -> None:
    described = httpx.get(f"{tables}/openapi.json").json()["paths"]["/predict/loan"]["post"]
    assert "text/csv" in described["requestBody"]["content"]
    assert "text/csv" in described["responses"]["200"]["content"]


def test_a_reader_of_csv_gives_values_for_the_client(tables: str) -> None:
    """`predict_many` takes the rows of a `csv.DictReader`, and NaN is a missing value."""
    from modelpad.client import Client

    reader = csv.DictReader(io.StringIO(HEADER + "80,,Bern\n20,40,Basel\n"))
    with Client(tables) as client:
        answers = [*client.predict_many(reader, model="loan")]
        assert [answer.label for answer in answers] == ["accept", "reject"]
        row = {"income (k)": 80.0, "age": float("nan"), "city": "Bern"}
        assert client.predict(model="loan", **row).label == "accept"


def test_a_header_of_a_million_columns_is_refused(tables: str) -> None:
    answer = ask(tables, "," * 3_000_000)
    assert answer.status_code in (413, 422)
