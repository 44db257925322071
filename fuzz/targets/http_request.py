"""HTTP/1.1: the bytes of one connection, all at once and in pieces."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fuzz.models import LIMITS, LOOP, run
from modelpad.errors import ModelpadError
from modelpad.server.errors import respond_problem
from modelpad.server.http.connection import Connection
from modelpad.server.http.messages import Request, Response, respond_json
from modelpad.server.http.server import HttpServer
from modelpad.server.observability.access_log import name_request, read_trace

DECODERS = (
    "modelpad.server.http.connection",
    "modelpad.server.http.messages",
    "modelpad.server.observability.access_log",
)
DATE = re.compile(rb"date: [^\r]*\r\n")
STATUS = re.compile(rb"^HTTP/1\.1 ([2-5]\d\d) ", re.MULTILINE)
TURNS = 12  # of the event loop: enough for any response
PIECES = 32

failures: list[str] = []


class Recorder(logging.Handler):
    """Collects logged errors, which the server did not expect."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            failures.append(logging.Formatter().format(record))


log, recorder = logging.getLogger("modelpad.server"), Recorder()
LOOP.set_exception_handler(lambda _, context: failures.append(repr(context)))


@contextmanager
def recording() -> Iterator[None]:
    """Sends the server's log to `recorder` only."""
    propagate, log.propagate = log.propagate, False
    log.addHandler(recorder)
    try:
        yield
    finally:
        log.removeHandler(recorder)
        log.propagate = propagate


class Wire(asyncio.Transport):
    """A transport without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed, "written after the end"
        self.sent += data

    def write_eof(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def answer(request: Request) -> Response:
    """Reads everything in a request."""
    try:
        body = await request.body()
        told = {"method": request.method, "path": request.path, "query": request.query()}
        name_request(request)
        read_trace(request)
        return respond_json(told | {"type": request.content_type, "bytes": len(body)})
    except ModelpadError as error:
        return respond_problem(400, error.message, error.hint)


def give(connection: Connection, data: bytes) -> None:
    """Passes received bytes to the connection, as a transport does."""
    while data:
        buffer = connection.get_buffer(-1)
        part, data = data[: len(buffer)], data[len(buffer) :]
        buffer[: len(part)] = part
        connection.buffer_updated(len(part))


async def converse(pieces: list[bytes]) -> bytes:
    """The bytes that a client gets back."""
    wire = Wire()
    connection = Connection(HttpServer(answer, LIMITS), LOOP)
    connection.connection_made(wire)
    for piece in pieces:
        if wire.closed:
            break
        give(connection, piece)
        await asyncio.sleep(0)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    if not wire.closed:
        connection.eof_received()
        for _ in range(TURNS):
            await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    return DATE.sub(b"", bytes(wire.sent))


def fuzz(data: bytes) -> None:
    """Asserts that nothing is logged and that responses do not depend on the pieces."""
    failures.clear()
    size = max(1, len(data) // PIECES)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    with recording():
        whole, parts = run(converse([data])), run(converse(pieces))
    assert not failures, failures[0]
    for sent in (whole, parts):
        assert not sent or sent.startswith(b"HTTP/1.1 "), sent[:80]
    # The way the bytes are split must not change how they are parsed.
    assert STATUS.findall(whole) == STATUS.findall(parts), (whole, parts)
