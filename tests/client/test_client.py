"""The client against a real server, with everything that a program may have in its hands."""

from __future__ import annotations

import asyncio
import http.server
import io
import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import modelpad
from modelpad.bundle import Bundle
from modelpad.client.client import read_error
from modelpad.errors import (
    Forbidden,
    InvalidInput,
    ModelFailed,
    ModelNotFound,
    NotReady,
    Overloaded,
)


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[modelpad.Client]:
    with modelpad.Client(server.url) as opened:
        yield opened


def test_a_picture_in_any_form(client: modelpad.Client, digits: Bundle, tmp_path: Path) -> None:
    path = digits.path("samples/7.png")
    picture = Image.open(path)
    forms: list[Any] = [path, path.read_bytes(), picture, np.asarray(picture.convert("L"))]
    photo = tmp_path / "seven.jpg"
    picture.convert("RGB").resize((200, 200)).save(photo, quality=95)
    for form in [*forms, photo]:
        answer = client.predict(form)
        assert answer.label == "7"
        assert answer.confidence > 0.5
        assert not answer.unknown
        assert next(iter(answer.scores)) == "7"
        assert (answer.model, answer.version) == ("digits", 1)
    assert client.predict(model="digits", image=picture).label == "7"


def test_many_in_their_order(client: modelpad.Client, digits: Bundle) -> None:
    paths = [digits.path(f"samples/{number % 10}.png") for number in range(40)]
    assert [one.label for one in client.predict_many(paths)] == list("0123456789" * 4)
    named = [{"image": path} for path in paths[:3]]
    assert [one.label for one in client.predict_many(named)] == list("012")


def test_values_without_end(server: Any, digits: Bundle) -> None:
    """They are taken as they are needed."""
    taken = itertools.count()
    path = digits.path("samples/3.png")

    def values() -> Iterator[Path]:
        while next(taken) < 2000:
            yield path

    async def ask() -> list[str]:
        async with modelpad.AsyncClient(server.url) as client:
            answers = client.predict_many(values())
            return [(await anext(answers)).label for _ in range(60)]

    with modelpad.Client(server.url) as client:
        answers = client.predict_many(values())
        assert [next(answers).label for _ in range(60)] == ["3"] * 60
        answers.close()  # type: ignore[attr-defined]
    assert asyncio.run(ask()) == ["3"] * 60
    assert next(taken) < 300


def test_asyncio(server: Any, digits: Bundle) -> None:
    async def ask() -> list[str]:
        async with modelpad.AsyncClient(server.url) as client:
            assert (await client.models())[0]["name"] == "digits"
            first = await client.predict(digits.path("samples/3.png"))
            paths = [digits.path(f"samples/{number}.png") for number in range(10)]
            return [first.label] + [one.label async for one in client.predict_many(paths)]

    assert asyncio.run(ask()) == list("30123456789")


@pytest.mark.parametrize("value", [np.array([[np.nan]]), object(), "\ud800"])
def test_what_json_does_not_have_is_refused(client: modelpad.Client, value: Any) -> None:
    with pytest.raises(InvalidInput):
        client.predict(value)


def test_errors_are_those_of_the_server(client: modelpad.Client) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.predict(b"no picture")
    assert caught.value.hint
    with pytest.raises(InvalidInput, match="no field 'wrong'"):
        client.predict(wrong=1)
    with pytest.raises(InvalidInput, match="no input"):
        client.predict()
    with pytest.raises(ModelNotFound, match="nothing"):
        client.predict(b"", model="nothing")


def test_arrays_come_back(protocols: str) -> None:
    with modelpad.Client(f"http://{protocols}") as client:
        first = np.array([1, 2, 3, 4])
        answer = client.predict(model="mix", first=first, second=[1, 1, 1, 1])
        np.testing.assert_array_equal(answer.outputs["total"], first + 1)
        assert np.asarray(answer.outputs["total"]).dtype == np.int32
        assert client.predict(4.0, model="half_plus_two").value == 4.0
        with pytest.raises(ModelNotFound, match="several"):
            client.predict(1)
        with pytest.raises(InvalidInput, match="several inputs"):
            client.predict(1, model="mix")


class Busy(http.server.BaseHTTPRequestHandler):
    """Refuses some times, and then answers."""

    refusals = 0
    asked = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        type(self).asked += 1
        busy = self.asked <= self.refusals
        record: Any = {"label": "a", "confidence": 1, "scores": {"a": 1}}
        if busy:
            record = {"error": {"message": "busy", "hint": "later"}}
        self.reply(429 if busy else 200, record)

    def do_GET(self) -> None:
        field = {"name": "text", "kind": "text"}
        label = {"name": "label", "kind": "label"}
        model = {"name": "m", "version": 1, "inputs": [field], "outputs": [label]}
        self.reply(200, {"models": [model]})

    def reply(self, status: int, record: Any) -> None:
        body = io.BytesIO(json.dumps(record).encode()).getvalue()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("refusals", [2, 9])
def test_a_busy_server_is_asked_again(refusals: int) -> None:
    class Handler(Busy):
        pass

    Handler.refusals = refusals
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        with modelpad.Client(f"http://127.0.0.1:{running.server_port}", retries=3) as client:
            if refusals < 3:
                assert client.predict("hello").label == "a"
            else:
                with pytest.raises(Overloaded, match="busy"):
                    client.predict("hello")
        running.shutdown()
    assert Handler.asked == min(refusals, 3) + 1


class Changing(Busy):
    """Has answered a label, and answers a tensor after its models were asked for once."""

    reads = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.reply(200, {"model": "m", "version": 2, "outputs": {"sums": [1, 2]}})

    def do_GET(self) -> None:
        type(self).reads += 1
        new = {"name": "sums", "kind": "tensor", "dtype": "float32"}
        outputs = [new if self.reads > 1 else {"name": "label", "kind": "label"}]
        field = {"name": "text", "kind": "text"}
        model = {"name": "m", "version": self.reads, "inputs": [field], "outputs": outputs}
        self.reply(200, {"models": [model]})


def test_a_version_that_answers_otherwise_is_understood() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Changing) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        with modelpad.Client(f"http://127.0.0.1:{running.server_port}") as client:
            for _ in range(2):
                answer = client.predict("hello")
                assert isinstance(answer.value, np.ndarray)
                assert (answer.version, answer.value.tolist()) == (2, [1.0, 2.0])
        running.shutdown()
    assert Changing.reads == 2


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": []}'])
def test_a_server_that_is_another(body: bytes) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        client = modelpad.Client(f"http://127.0.0.1:{running.server_port}")
        with client, pytest.raises(ModelFailed, match="not from a modelpad server"):
            client.predict("hello")
        running.shutdown()


def test_a_server_that_is_not_there() -> None:
    with modelpad.Client("http://127.0.0.1:9", retries=1) as client, pytest.raises(NotReady):
        client.predict("hello")


def test_what_a_gate_before_the_server_says() -> None:
    error = read_error(403, {"error": {"message": "Not you.", "hint": "Ask an admin."}})
    assert isinstance(error, Forbidden)
    assert (error.message, error.hint) == ("Not you.", "Ask an admin.")


def test_none_concurrency_is_a_mistake(server: Any) -> None:
    async def ask() -> None:
        async with modelpad.AsyncClient(server.url) as client:
            async for _ in client.predict_many([b""], concurrency=0):
                pass

    with pytest.raises(ValueError, match="concurrency"):
        asyncio.run(ask())
