"""Many items in one request: a JSON list, and lines without end."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator

import httpx
import pytest

from modelpad.bundle import Bundle


def write_items(digits: Bundle, count: int) -> list[dict[str, str]]:
    pictures = [digits.path(f"samples/{number}.png").read_bytes() for number in range(10)]
    return [{"image": base64.b64encode(pictures[number % 10]).decode()} for number in range(count)]


def test_a_list_is_answered_in_its_order(protocols: str, digits: Bundle) -> None:
    items: list[object] = [*write_items(digits, 30), {"image": "!"}, {"wrong": 1}]
    answer = httpx.post(f"http://{protocols}/predict/digits", json=items, timeout=60).json()
    assert (answer["model"], answer["version"]) == ("digits", 1)
    labels = [one.get("label") for one in answer["predictions"]]
    assert labels == [*("0123456789" * 3), None, None]
    assert "wrong" in answer["predictions"][31]["error"]["message"]


def test_too_many_in_a_list_are_refused(protocols: str) -> None:
    answer = httpx.post(f"http://{protocols}/predict/pick", json=[{}] * 10_001)
    assert answer.status_code == 413
    assert "x-ndjson" in answer.json()["error"]["hint"]


@pytest.mark.slow
def test_lines_are_answered_as_they_come(protocols: str) -> None:
    sent = 0

    def lines() -> Iterator[bytes]:
        nonlocal sent
        for number in range(20_000):
            sent = number
            yield json.dumps({"row": [number % 3 == kind for kind in range(3)]}).encode() + b"\n"
        yield b"not json\n"

    url = f"http://{protocols}/predict/pick"
    headers = {"content-type": "application/x-ndjson"}
    with httpx.stream("POST", url, content=lines(), headers=headers, timeout=60) as response:
        answers = [json.loads(line) for line in response.iter_lines()]
    assert sent == 19_999
    assert len(answers) == 20_001
    assert [one["label"] for one in answers[:6]] == list("abcabc")
    assert "not JSON" in answers[-1]["error"]["message"]


def test_a_line_too_long_is_told_after_the_answers_before_it(protocols: str) -> None:
    body = b'{"row": [0, 5, 0]}\n' * 3 + b"[" * (33 * 1024 * 1024)
    url, headers = f"http://{protocols}/predict/pick", {"content-type": "application/x-ndjson"}
    answer = httpx.post(url, content=body, headers=headers, timeout=60)
    *labels, last = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["label"] for one in labels] == list("bbb")
    assert "A line has more than" in last["error"]["message"]


def test_packed_lines_are_refused(protocols: str) -> None:
    headers = {"content-type": "application/x-ndjson", "content-encoding": "gzip"}
    body = gzip.compress(b'{"row": [0, 5, 0]}\n')
    answer = httpx.post(f"http://{protocols}/predict/pick", content=body, headers=headers)
    assert answer.status_code == 422
    assert "gzip" in answer.json()["error"]["message"]


def test_a_list_of_numbers_is_one_item(protocols: str) -> None:
    answer = httpx.post(f"http://{protocols}/predict/pick", json=[0, 5, 0])
    assert answer.json()["label"] == "b"


def test_text_goes_there_and_back(protocols: str) -> None:
    answer = httpx.post(f"http://{protocols}/predict/echo", json={"words": "schön"})
    assert answer.json()["outputs"] == {"same": "schön"}
