"""Responses to clients that read slowly, wait for 100 Continue, or speak HTTP/1.0."""

from __future__ import annotations

import asyncio
import socket
from email.utils import formatdate

import pytest

from modelpad.server.http.messages import ServerLimits
from modelpad.server.http.response_head import format_date
from tests.server.http.running import CLOSE, Running, run, wait_until


def test_http_1_0_gets_keep_alive_and_no_chunks() -> None:
    """It knows no chunks, and is told that its connection stays."""

    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        kept = b"connection: keep-alive\r\n"
        for _ in range(2):
            writer.write(b"GET /one HTTP/1.0\r\n" + kept + b"\r\n")
            assert kept in await reader.readuntil(b"/one")
        writer.write(b"POST /lines HTTP/1.0\r\n" + kept + b"content-length: 4\r\n\r\na\nbc")
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.endswith(b"\r\n\r\n1\n2\n")
        assert b"chunked" not in answer
        assert b"connection: close" in answer
        writer.close()

    run(test)


def test_a_response_streamed_while_its_body_arrives_has_no_time_limit() -> None:
    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        writer.write(b"POST /lines HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(20):
            writer.write(b"3\r\nab\n\r\n")
            await asyncio.sleep(0.05)
        writer.write(b"0\r\n\r\n" + CLOSE)
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.count(b"\r\n2\n\r\n") == 20
        assert answer.count(b"200 OK") == 2
        writer.close()

    run(test, ServerLimits(body_s=0.7))


async def connect_narrow(running: Running) -> tuple[socket.socket, asyncio.Transport]:
    """A client's socket that does not read, and the server's end; the system buffers little."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", running.port))
    await wait_until(lambda: running.server.connections)
    (connection,) = running.server.connections
    assert connection.transport is not None
    wire = connection.transport.get_extra_info("socket")
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return client, connection.transport


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/lines", b"a\n" * 25_000, id="a stream"),
        pytest.param("/", b"a" * 50_000, id="the end"),
    ],
)
def test_a_client_that_does_not_read_is_disconnected(path: str, body: bytes) -> None:
    async def test(running: Running) -> None:
        client, transport = await connect_narrow(running)
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        await wait_until(transport.get_write_buffer_size)
        await wait_until(lambda: not running.server.connections)
        client.close()

    run(test, ServerLimits(body_s=0.5, idle_s=0.2))


def test_100_continue_is_sent_only_if_the_body_is_read() -> None:
    async def test(running: Running) -> None:
        waits = b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        for path, status in ((b"/early", b"200"), (b"/full", b"429")):
            answer = await running.send(b"POST %b HTTP/1.1\r\nhost: x\r\n%b" % (path, waits))
            assert answer.startswith(b"HTTP/1.1 " + status)
        reader, writer = await running.connect()
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\nPOST / HTTP/1.1\r\nhost: x\r\n" + waits)
        assert (await reader.readuntil(b"/slow")).startswith(b"HTTP/1.1 200")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert b"200 OK" in await reader.readuntil(b"ok")
        writer.write(b"POST /lines HTTP/1.1\r\nhost: x\r\n" + waits)
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert b"200 OK" in await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"POST / HTTP/1.0\r\n" + waits + b"ok")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()

    run(test)


@pytest.mark.parametrize("second", [0, 951_782_400, 1_709_164_799, 1_764_204_305, 4_102_444_800])
def test_dates_are_those_of_http(second: int) -> None:
    assert format_date(second) == formatdate(second, usegmt=True)
