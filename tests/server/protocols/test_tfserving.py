"""TensorFlow Serving's REST API, asked as its documentation asks."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from modelpad.bundle import Bundle

HALF = "/v1/models/half_plus_two"


@pytest.fixture(scope="module")
def client(protocols: str) -> Any:
    with httpx.Client(base_url=f"http://{protocols}") as opened:
        yield opened


def test_its_tutorial_with_requests(protocols: str) -> None:
    """https://www.tensorflow.org/tfx/tutorials/serving/rest_simple, word for word but the port."""
    data = json.dumps({"signature_name": "serving_default", "instances": [1.0, 2.0, 5.0]})
    headers = {"content-type": "application/json"}
    url = f"http://{protocols}/v1/models/half_plus_two:predict"
    json_response = requests.post(url, data=data, headers=headers, timeout=10)
    predictions = json.loads(json_response.text)["predictions"]
    assert predictions == [2.5, 3.0, 4.5]
    versioned = url.replace(":predict", "/versions/1:predict")
    json_response = requests.post(versioned, data=data, headers=headers, timeout=10)
    assert json.loads(json_response.text)["predictions"] == [2.5, 3.0, 4.5]


def test_the_example_of_its_documentation(client: httpx.Client) -> None:
    answer = client.post(f"{HALF}:predict", content='{"instances": [1.0, 2.0, 5.0]}')
    assert answer.status_code == 200
    assert answer.json() == {"predictions": [2.5, 3.0, 4.5]}
    status = client.get(HALF).json()
    assert status["model_version_status"] == [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
    assert (status["name"], status["ready"]) == ("half_plus_two", True)


def test_columns_answer_columns(client: httpx.Client) -> None:
    assert client.post(f"{HALF}:predict", json={"inputs": [1, 2]}).json() == {"outputs": [2.5, 3.0]}
    inputs = {"first": [[1, 2, 3, 4]], "second": [[1, 1, 1, 1]]}
    answer = client.post("/v1/models/mix:predict", json={"inputs": inputs}).json()
    assert answer == {"outputs": {"total": [[2, 3, 4, 5]], "apart": [[0, 1, 2, 3]]}}


def test_rows_of_several_inputs(client: httpx.Client) -> None:
    rows = [{"first": [n] * 4, "second": [1] * 4} for n in range(3)]
    answer = client.post("/v1/models/mix:predict", json={"instances": rows}).json()
    assert [row["total"] for row in answer["predictions"]] == [[1] * 4, [2] * 4, [3] * 4]


@pytest.mark.parametrize("place", ["/versions/1", "/labels/latest", ""])
def test_versions_and_labels(client: httpx.Client, place: str) -> None:
    answer = client.post(f"{HALF}{place}:predict", json={"instances": [2], "signature_name": ""})
    assert answer.json() == {"predictions": [3.0]}
    assert client.get(f"{HALF}{place}").status_code == 200
    metadata = client.get(f"{HALF}{place}/metadata").json()
    assert metadata["model_spec"]["version"] == "1"
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["x"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]


def test_pictures_as_bytes_are_prepared_as_the_page_prepares_them(
    client: httpx.Client, digits: Bundle
) -> None:
    pictures = [digits.path(f"samples/{n}.png").read_bytes() for n in (3, 8)]
    rows = [{"b64": base64.b64encode(picture).decode()} for picture in pictures]
    answer = client.post("/v1/models/digits:predict", json={"instances": rows}).json()
    best = [max(range(10), key=row.__getitem__) for row in answer["predictions"]]
    assert best == [3, 8]
    named = [{"image": row} for row in rows]
    again = client.post("/v1/models/digits:predict", json={"instances": named}).json()
    assert again == answer


def test_classify_and_regress(client: httpx.Client) -> None:
    examples = {"examples": [{"row": [0.0, 5.0, 0.0]}, {"row": [9.0, 0.0, 0.0]}]}
    results = client.post("/v1/models/pick:classify", json=examples).json()["results"]
    assert [max(row, key=lambda pair: pair[1])[0] for row in results] == ["b", "a"]
    halves = {"examples": [{"x": 4}, {"x": 0}]}
    assert client.post(f"{HALF}:regress", json=halves).json() == {"results": [4.0, 2.0]}
    assert client.post("/v1/models/mix:classify", json=halves).status_code == 400


@pytest.mark.slow
def test_text(client: httpx.Client) -> None:
    answer = client.post("/v1/models/echo:predict", json={"instances": ["one", "zwei"]}).json()
    assert answer == {"predictions": ["one", "zwei"]}


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/models/nothing:predict", '{"instances": [1]}', 404, "No model named"),
        (f"{HALF}/versions/7:predict", '{"instances": [1]}', 404, "no version"),
        (f"{HALF}/versions/{'7' * 5000}:predict", '{"instances": [1]}', 404, "no version"),
        (f"{HALF}:predict", "{", 400, "not JSON"),
        (f"{HALF}:predict", "[]", 400, "either 'instances' or 'inputs'"),
        (f"{HALF}:predict", '{"instances": [1], "inputs": [1]}', 400, "either"),
        (f"{HALF}:predict", '{"instances": []}', 400, "at least one"),
        (f"{HALF}:predict", '{"instances": [[1, 2]]}', 400, "shape"),
        (f"{HALF}:predict", '{"instances": ["a"]}', 400, "numbers"),
        (f"{HALF}:predict", '{"instances": [NaN]}', 400, "NaN"),
        (f"{HALF}:predict", '{"instances": [null]}', 400, "neither a number nor text"),
        (f"{HALF}:predict", '{"instances": [1], "signature_name": "x"}', 400, "not found"),
        ("/v1/models/mix:predict", '{"inputs": {"first": [[1,2,3,4]]}}', 400, "missing"),
        ("/v1/models/mix:predict", '{"instances": [[1]]}', 400, "object"),
        ("/v1/models/mix:predict", '{"instances": [{"first": 1}, {}]}', 400, "same inputs"),
        ("/v1/models/mix:predict", '{"inputs": {"first": [[1.5,2,3,4]], "second": [[1,2,3,4]]}}',
         400, "int32"),
        ("/v1/models/digits:predict", '{"instances": [{"b64": "!"}]}', 400, "base64"),
        ("/v1/models/digits:predict", '{"instances": [{"b64": "aGk="}]}', 400, ""),
        (f"{HALF}:predict", '{"instances": %s}' % ("[" * 800 + "1" + "]" * 800), 400, ""),
        (f"{HALF}:predict", '{"instances": [1e300]}', 400, "beyond float32"),
        (f"{HALF}:classify", '{"examples": 1}', 400, ""),
        (f"{HALF}:regress", '{"examples": [{"x": 1}], "context": [1]}', 400, "'context'"),
    ],
)  # fmt: skip
def test_errors_have_its_shape(
    client: httpx.Client, path: str, body: str, status: int, words: str
) -> None:
    answer = client.post(path, content=body)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


def test_the_samples_folder_is_not_needed(bundles: Path) -> None:
    assert not (bundles / "mix" / "samples").exists()
