"""HTTP/1.1: what one client sends on a connection, at once and in pieces."""

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
    "modelpad.server.http.parser",
    "modelpad.server.http.state",
    "modelpad.server.observability.access_log",
)
DATE = re.compile(rb"date: [^\r]*\r\n")
STATUS = re.compile(rb"^HTTP/1\.1 ([2-5]\d\d) ", re.MULTILINE)
TURNS = 12  # of the loop: enough for any answer
PIECES = 32

failures: list[str] = []


class Recorder(logging.Handler):
    """An error that the server logs is one that it did not expect."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            failures.append(logging.Formatter().format(record))


log, recorder = logging.getLogger("modelpad.server"), Recorder()
LOOP.set_exception_handler(lambda _, context: failures.append(repr(context)))


@contextmanager
def recording() -> Iterator[None]:
    """Records what the server logs, in place of its usual log."""
    propagate, log.propagate = log.propagate, False
    log.addHandler(recorder)
    try:
        yield
    finally:
        log.removeHandler(recorder)
        log.propagate = propagate


class Wire(asyncio.Transport):
    """A client without a socket."""

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
    """Reads all that there is to read of a request."""
    try:
        body = await request.body()
        told = {"method": request.method, "path": request.path, "query": request.query()}
        name_request(request)
        read_trace(request)
        return respond_json(told | {"type": request.content_type, "bytes": len(body)})
    except ModelpadError as error:
        return respond_problem(400, error.message, error.hint)


def give(connection: Connection, data: bytes) -> None:
    """What a transport does with bytes that came."""
    while data:
        buffer = connection.get_buffer(-1)
        part, data = data[: len(buffer)], data[len(buffer) :]
        buffer[: len(part)] = part
        connection.buffer_updated(len(part))


async def converse(pieces: list[bytes]) -> bytes:
    """What one client gets for what it sends."""
    wire = Wire()
    connection = HttpServer(answer, LIMITS).make_connection(LOOP)
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
    """Raises `AssertionError` for a failure in the log, or responses that depend on the pieces."""
    failures.clear()
    size = max(1, len(data) // PIECES)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    with recording():
        whole, parts = run(converse([data])), run(converse(pieces))
    assert not failures, failures[0]
    for sent in (whole, parts):
        assert not sent or sent.startswith(b"HTTP/1.1 "), sent[:80]
    # How a client's bytes are cut must not change which requests they are.
    assert STATUS.findall(whole) == STATUS.findall(parts), (whole, parts)
