"""Triton's generate extension, by its specification."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from modelpad.bundle import Bundle


@pytest.fixture(scope="module")
def client(protocols: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{protocols}/v2/models") as opened:
        yield opened


MIX = {"first": [1, 2, 3, 4], "second": [1, 1, 1, 1]}


def test_values_go_by_name(client: httpx.Client) -> None:
    given = {"words": "olá", "parameters": {"temperature": 0, "stream": False}, "top": 3}
    answer = client.post("/echo/generate", json=given)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"model_name": "echo", "model_version": "1", "same": "olá"}
    assert "id" not in client.post("/mix/generate", json=MIX | {"id": None}).json()
    answer = client.post("/mix/versions/1/generate", json=MIX | {"id": "seven"}).json()
    assert answer == {
        "model_name": "mix",
        "model_version": "1",
        "id": "seven",
        "total": [2, 3, 4, 5],
        "apart": [0, 1, 2, 3],
    }
    assert client.post("/half_plus_two/generate", json={"x": 3}).json()["y"] == 3.5
    assert client.post("/half_plus_two/generate", json={"x": [3]}).json()["y"] == 3.5


def test_a_picture(client: httpx.Client, digits: Bundle) -> None:
    picture = base64.b64encode(digits.path("samples/7.png").read_bytes()).decode()
    for image in (picture, f"data:image/png;base64,{picture}"):
        scores = client.post("/digits/generate", json={"image": image}).json()["label"]
        assert max(range(10), key=lambda digit: scores[digit]) == 7


@pytest.mark.parametrize("path", ["/mix", "/mix/versions/1"])
def test_a_stream_of_one_event(client: httpx.Client, path: str) -> None:
    with client.stream("POST", f"{path}/generate_stream", json=MIX) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = list(answer.iter_lines())
    assert lines[1:] == [""]
    assert json.loads(lines[0].removeprefix("data: "))["total"] == [2, 3, 4, 5]


@pytest.mark.parametrize("call", ["generate", "generate_stream"])
@pytest.mark.parametrize(
    ("model", "given", "words"),
    [
        ("mix", [1], "a JSON object"),
        ("mix", {}, "'first' is missing"),
        ("mix", {"first": [1, 2, 3, 4]}, "'second' is missing"),
        ("mix", MIX | {"third": [1]}, "'third' is neither an input"),
        ("mix", MIX | {"parameters": 3}, "'parameters' is neither an input"),
        ("mix", MIX | {"parameters": {"deep": {}}}, "nor a parameter"),
        ("mix", MIX | {"first": [1, 2, 3]}, "unexpected shape for input 'first'"),
        ("mix", MIX | {"first": [[1, 2], [3]]}, "different lengths"),
        ("mix", MIX | {"first": None}, "neither a number nor text"),
        ("mix", MIX | {"first": "one"}, "takes numbers"),
        ("digits", {"image": "no picture"}, "not base64"),
    ],
)
def test_what_is_wrong_is_told(
    client: httpx.Client, call: str, model: str, given: Any, words: str
) -> None:
    answer = client.post(f"/{model}/{call}", json=given)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


def test_unknown_models(client: httpx.Client) -> None:
    for path in ("/nothing/generate", "/mix/versions/9/generate_stream"):
        answer = client.post(path, json=MIX)
        assert answer.status_code == 404
        assert list(answer.json()) == ["error"]


def test_the_extension_is_listed(client: httpx.Client) -> None:
    assert "generate" in httpx.get(str(client.base_url.join("/v2"))).json()["extensions"]
