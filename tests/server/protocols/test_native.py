"""The native API over real sockets: every kind of body, right and wrong."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from modelpad.bundle import Bundle

PNG = {"content-type": "image/png"}
GZIP = {"content-encoding": "gzip"}
JSON = {"content-type": "application/json"}


def data_url(body: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(body).decode()


def save(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_every_form_gives_the_same_answer(client: httpx.Client, seven: bytes) -> None:
    answers = [
        client.post("/predict/digits", files={"image": ("seven.png", seven)}),
        client.post("/predict/digits", content=seven, headers=PNG),
        client.post("/predict/digits", content=seven),
        client.post("/predict/digits", json={"image": data_url(seven)}),
        client.post("/predict/digits", json={"image": base64.b64encode(seven).decode()}),
        client.post("/predict/digits", json=data_url(seven)),
        client.post(
            "/predict/digits", content=data_url(seven), headers={"content-type": "text/plain"}
        ),
        client.post("/predict/digits", data={"image": data_url(seven)}),
        client.post("/predict", content=seven, headers=PNG),
    ]
    # httpx sends `data` alone as a urlencoded form, which is not one of ours.
    assert answers.pop(7).status_code == 422
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    first = answers[0].json()
    assert set(first) == {"model", "version", "label", "confidence", "scores", "unknown"}
    assert (first["label"], first["unknown"]) == ("7", False)
    assert first["confidence"] == max(first["scores"].values())
    assert abs(sum(first["scores"].values()) - 1) < 1e-4
    assert all(answer.json() == first for answer in answers)


def test_nested_lists_are_accepted(client: httpx.Client, seven: bytes) -> None:
    grid = np.asarray(Image.open(io.BytesIO(seven))).tolist()
    assert client.post("/predict/digits", json={"image": grid}).json()["label"] == "7"


@pytest.mark.parametrize("sample", range(10))
def test_samples_are_classified_right(client: httpx.Client, digits: Bundle, sample: int) -> None:
    body = digits.path(f"samples/{sample}.png").read_bytes()
    answer = client.post("/predict/digits", content=body, headers=PNG).json()
    assert answer["label"] == str(sample)


def bomb() -> bytes:
    """A PNG of 20,000 x 20,000 pixels in half a megabyte."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        whole = kind + body
        return len(body).to_bytes(4, "big") + whole + zlib.crc32(whole).to_bytes(4, "big")

    head = (20000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    pixels = zlib.compress(bytes(20001) * 200)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


BLANK = save(Image.new("L", (280, 280), 255))
WRONG: dict[str, tuple[Any, dict[str, str], int, str]] = {
    "wrong field name": ({"picture": "x"}, JSON, 422, "no field 'picture'"),
    "no field": ({}, JSON, 422, "missing"),
    "wrong type": ({"image": 3}, JSON, 422, "not a picture"),
    "null": ({"image": None}, JSON, 422, "not a picture"),
    "broken base64": ({"image": "%%%"}, JSON, 422, "base64"),
    "data URL without a comma": ({"image": "data:image/png"}, JSON, 422, "comma"),
    "empty text": ({"image": ""}, JSON, 422, "0 bytes"),
    "ragged list": ({"image": [[1, 2], [3]]}, JSON, 422, "different lengths"),
    "wrong shape": ({"image": [[1, 2], [3, 4]]}, JSON, 422, "wrong shape"),
    "numbers out of range": ({"image": [[300] * 28] * 28}, JSON, 422, "0 to 255"),
    "words in a list": ({"image": [["a"] * 28] * 28}, JSON, 422, "numbers"),
    "NaN": (b'{"image": [[NaN]]}', JSON, 422, "NaN"),
    "infinity": (b'{"image": [[1e999]]}', JSON, 422, ""),
    "broken JSON": (b'{"image": ', JSON, 422, "not JSON"),
    "deep JSON": (b"[" * 100_000, JSON, 422, "not JSON"),
    "not UTF-8": (b'{"image": "\xff"}', JSON, 422, "not JSON"),
    "empty body": (b"", PNG, 422, "0 bytes"),
    "empty body without a type": (b"", {}, 422, "0 bytes"),
    "a text called .png": (b"hello, I am no picture", PNG, 422, "not a picture"),
    "an empty canvas": (BLANK, PNG, 422, "empty"),
    "a truncated PNG": (save(Image.effect_noise((64, 64), 90))[:900], PNG, 422, "truncated"),
    "a bomb": (bomb(), PNG, 413, "pixels"),
    "an unknown type": (b"x", {"content-type": "application/zip"}, 422, "application/zip"),
    "a form without a boundary": (b"x", {"content-type": "multipart/form-data"}, 422, "form"),
    "a broken form": (b"x", {"content-type": "multipart/form-data; boundary=a"}, 422, ""),
    "gzip cut short": (gzip.compress(BLANK)[:-9], PNG | GZIP, 422, "truncated"),
    "gzip and more": (gzip.compress(BLANK) * 2, PNG | GZIP, 422, "after its end"),
    "a gzip bomb": (gzip.compress(bytes(20_000_000)), PNG | GZIP, 413, "bytes"),
    "a large body": (b"x" * 17_000_000, PNG, 413, "bytes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_rejected_with_a_hint(client: httpx.Client, name: str) -> None:
    body, headers, status, words = WRONG[name]
    content = json.dumps(body) if isinstance(body, dict) else body
    answer = client.post("/predict/digits", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert words in error["message"]
    assert error["hint"]
    assert client.get("/healthz").status_code == 200


def test_a_body_of_unknown_length_is_cut_at_the_limit(client: httpx.Client) -> None:
    chunks = (b"x" * 1_000_000 for _ in range(100))
    try:
        answer = client.post("/predict/digits", content=chunks, headers=PNG)
    except httpx.TransportError:
        pass  # the server closed the connection while the rest was still being sent
    else:
        assert answer.status_code == 413
    assert client.get("/healthz").status_code == 200


def test_an_unknown_model_names_those_that_exist(client: httpx.Client) -> None:
    answer = client.post("/predict/digit", content=b"x")
    assert answer.status_code == 404
    assert "digits" in answer.json()["error"]["hint"]


def test_concurrent_requests_get_their_own_responses(server: Any, digits: Bundle) -> None:
    bodies = [digits.path(f"samples/{number % 10}.png").read_bytes() for number in range(200)]

    def ask(number: int) -> str:
        answer = httpx.post(f"{server.url}/predict/digits", content=bodies[number], headers=PNG)
        return str(answer.json()["label"])

    with ThreadPoolExecutor(16) as threads:
        labels = list(threads.map(ask, range(200)))
    assert labels == [str(number % 10) for number in range(200)]
