"""A head that is known is taken for nothing but what a parser makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpad.errors import ModelpadError
from modelpad.server.budget import ByteBudget
from modelpad.server.http.exchange import Exchange
from modelpad.server.http.heads import RequestRejected
from modelpad.server.http.known_head import MAX_BYTES, find_head
from modelpad.server.http.messages import ServerLimits
from modelpad.server.http.parser import RequestParser
from modelpad.server.http.service import Service

POST = b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n"
PIECES = [
    POST + b"abc",
    POST + b"def",
    POST,
    b"abc",
    b"P",
    b"\r\n",
    b"GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"GET / HTTP/1.1\nhost: x\n\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
]


class Sink:
    """Writes down what a parser reports; bodies are joined, as they may come in parts."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def begin_request(self, exchange: Exchange) -> None:
        request = exchange.request
        assert request is not None
        head = (request.method, request.path, request.query_string, dict(request.headers))
        self.seen.append([head, exchange.keep_alive, exchange.expects, b"", exchange.reservation])

    def add_body(self, body: bytes) -> None:
        self.seen[-1][3] += body

    def end_request(self) -> None:
        self.seen[-1][4] = self.seen[-1][4].size
        self.seen.append("end")


class Forgetful(RequestParser):
    """Parses every head."""

    __slots__ = ()

    def _learn(self, data: bytes) -> int:
        return -1


def parse(kind: type[RequestParser], parts: list[bytes]) -> list[Any]:
    async def read(exchange: Exchange) -> tuple[bytes, bool]:
        raise AssertionError

    async def handle(request: object) -> Any:
        raise AssertionError

    sink, limits = Sink(), ServerLimits()
    parser = kind(Service(handle, limits, ByteBudget(limits.inflight_bytes)), sink, read)
    for part in parts:
        try:
            parser.feed(part)
        except (RequestRejected, ModelpadError) as error:
            return [*sink.seen, str(error)]
    return [each[:4] if isinstance(each, list) else each for each in sink.seen]


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.data())
@settings(max_examples=300, deadline=None)
def test_requests_are_those_of_a_parser_that_knows_no_head(pieces: list[bytes], data: Any) -> None:
    parts = pieces
    if data.draw(st.booleans()):
        stream = b"".join(pieces)
        cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=5)))
        parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        parts = [part for part in parts if part]
    known, parsed = parse(RequestParser, parts), parse(Forgetful, parts)
    assert str(known) == str(parsed)


def test_a_repeated_request_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[bytes] = []
    feed = RequestParser._feed

    def note(parser: RequestParser, data: bytes) -> None:
        fed.append(data)
        feed(parser, data)

    monkeypatch.setattr(RequestParser, "_feed", note)
    seen = parse(RequestParser, [POST + b"abc", POST + b"def", POST + b"ghi" + POST + b"jkl"])
    assert [each[3] for each in seen if each != "end"] == [b"abc", b"def", b"ghi", b"jkl"]
    assert fed == [POST + b"abc"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n",
        b"\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n y\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ny: " + b"z" * MAX_BYTES + b"\r\n\r\n",
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_not_kept(data: bytes) -> None:
    assert find_head(data, 1) == b""
    plain = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    assert find_head(plain + b"more", 1) == plain
