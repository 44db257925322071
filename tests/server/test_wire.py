"""HTTP on a real socket: what is slow, broken, too large or too many; and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from modelpad.server.http.messages import Request, Response, ServerLimits
from modelpad.server.http.server import HttpServer

Test = Callable[["Running"], Awaitable[None]]


class Running:
    """A server in this loop, and raw connections to it."""

    def __init__(self, server: HttpServer, port: int) -> None:
        self.server, self.port = server, port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, data: bytes) -> bytes:
        reader, writer = await self.connect()
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer


async def echo(request: Request) -> Response:
    if request.path == "/slow":
        await asyncio.sleep(0.3)
    if request.path == "/early":
        return Response(b"no need", "text/plain")
    if request.path == "/lines":

        async def count() -> AsyncIterator[bytes]:
            async for line in request.lines(1000):
                yield b"%d\n" % len(line)

        return Response(content_type="text/plain", parts=count())
    if request.path == "/fail":
        raise RuntimeError("boom")
    body = await request.body()
    return Response(body or request.path.encode(), "text/plain")


def shed_load(request: Request) -> Response | None:
    return Response(b"too much", "text/plain", 429) if request.path == "/full" else None


def run(
    test: Test, limits: ServerLimits | None = None, shutdown_timeout_s: float = 2.0
) -> HttpServer:
    async def live() -> HttpServer:
        listener = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(echo, limits, shed_load)
        await server.listen(listener)
        await test(Running(server, listener.getsockname()[1]))
        await server.stop(shutdown_timeout_s)
        return server

    return asyncio.run(live())


CLOSE = b"GET /a%20b?x=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def test_requests_one_after_the_other_on_one_connection() -> None:
    async def test(running: Running) -> None:
        answer = await running.send(b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n" * 3 + CLOSE)
        assert answer.count(b"HTTP/1.1 200 OK") == 4
        assert answer.count(b"/one") == 3
        assert answer.endswith(b"/a b")
        assert b"connection: close" in answer
        old = await running.send(b"GET / HTTP/1.0\r\n\r\n")
        assert old.endswith(b"/")

    run(test)


def test_bodies_of_any_kind_arrive_whole() -> None:
    async def test(running: Running) -> None:
        url = f"http://127.0.0.1:{running.port}"
        large = bytes(range(256)) * 8000

        async def parts() -> AsyncIterator[bytes]:
            for start in range(0, len(large), 100_000):
                yield large[start : start + 100_000]

        async with httpx.AsyncClient() as client:
            assert (await client.post(url, content=large)).content == large
            assert (await client.post(url, content=parts())).content == large
            lines = await client.post(f"{url}/lines", content=b"ab\n\nabc\nabcd")
            assert lines.text == "2\n3\n4\n"
            assert lines.headers["transfer-encoding"] == "chunked"
            head = await client.head(f"{url}/x")
            assert (head.status_code, head.content) == (200, b"")
        reader, writer = await running.connect()
        writer.write(
            b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert b"200 OK" in await reader.readuntil(b"ok")
        writer.close()

    run(test)


def test_a_wish_for_another_protocol_is_passed_over() -> None:
    """Java's HttpClient asks for HTTP/2 with its first request, whichever that is."""
    wish = b"host: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"

    async def test(running: Running) -> None:
        posted = b"POST / HTTP/1.1\r\n" + wish + b"content-length: 3\r\n\r\nabc"
        chunks = b"transfer-encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n"
        parts = b"POST / HTTP/1.1\r\n" + wish + chunks
        asked = b"GET /one HTTP/1.1\r\n" + wish + b"\r\n"
        answer = await running.send(posted + parts + asked + CLOSE)
        assert answer.count(b"HTTP/1.1 200 OK") == 4
        assert re.findall(rb"\r\n\r\n(abc|def|/one|/a b)", answer) == [
            b"abc",
            b"def",
            b"/one",
            b"/a b",
        ]
        tunnel = await running.send(b"CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n")
        assert tunnel.startswith(b"HTTP/1.1 400")

    run(test)


def test_what_is_no_http_is_refused_in_words() -> None:
    async def test(running: Running) -> None:
        assert (await running.send(b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.1 400")
        assert b"This is not HTTP" in await running.send(b"rubbish\r\n\r\n")
        long = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 70_000 + b"\r\n\r\n"
        refused = await running.send(long)
        assert refused.startswith(b"HTTP/1.1 431")
        assert b"at most 65,536 bytes are taken" in refused
        assert (await running.send(b"GET /" + b"a" * 70_000)).startswith(b"HTTP/1.1 431")
        fields = b"".join(b"x%d: y\r\n" % number for number in range(20_000))
        many = await running.send(b"GET / HTTP/1.1\r\nhost: x\r\n" + fields + b"\r\n")
        assert many.startswith(b"HTTP/1.1 431")

    run(test)


def test_who_sends_no_more_is_answered_and_let_go() -> None:
    async def test(running: Running) -> None:
        for asked in (
            b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 3,
        ):
            reader, writer = await running.connect()
            writer.write(asked)
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer.count(b"200 OK") == asked.count(b"GET")
            writer.close()

    run(test)


def test_fields_after_a_body_are_no_part_of_the_next_request() -> None:
    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        first = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(first + b"2\r\nab\r\n0\r\ncontent-encoding: gzip\r\n\r\n")
        await reader.readuntil(b"ab")
        (connection,) = running.server.connections
        connection.stop_when_idle()
        assert await reader.read() == b""
        writer.close()
        next_one = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\ncd"
        answer = await running.send(
            first + b"0\r\ncontent-encoding: gzip\r\n\r\n" + next_one + CLOSE
        )
        assert answer.count(b"200 OK") == 3

    run(test)


def test_clients_of_http_1_0_are_answered_as_it_says() -> None:
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


def test_a_body_that_is_answered_as_it_comes_has_no_end() -> None:
    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        writer.write(b"POST /lines HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(20):
            writer.write(b"3\r\nab\n\r\n")
            await asyncio.sleep(0.2)
        writer.write(b"0\r\n\r\n" + CLOSE)
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.count(b"\r\n2\n\r\n") == 20
        assert answer.count(b"200 OK") == 2
        writer.close()

    run(test, ServerLimits(body_s=1.5))


def test_a_client_that_does_not_read_a_stream_is_cut_off() -> None:
    async def test(running: Running) -> None:
        body = b"a\n" * 3_000_000
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1024)
        writer.write(b"POST /lines HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await asyncio.sleep(0.5)
        assert running.server.connections
        end = time.monotonic() + 30  # the buffers of the system take hundreds of thousands of lines
        while running.server.connections and time.monotonic() < end:
            await asyncio.sleep(0.1)
        assert not running.server.connections
        with pytest.raises(ConnectionError):
            await reader.read()

    run(test, ServerLimits(body_s=0.5))


def test_a_client_that_does_not_read_the_end_is_cut_off() -> None:
    async def test(running: Running) -> None:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", running.port))
        await asyncio.sleep(0.05)
        (connection,) = running.server.connections
        assert connection.transport is not None
        wire = connection.transport.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.sendall(
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\n\r\n" + b"a" * 50_000
        )
        await asyncio.sleep(0.3)
        assert connection.transport.get_write_buffer_size()
        await asyncio.sleep(3.5)
        assert not running.server.connections
        client.close()

    run(test, ServerLimits(body_s=0.5, idle_s=0.2))


def test_a_line_without_end_is_refused() -> None:
    """httptools keeps a field until it is whole."""

    async def test(running: Running) -> None:
        chunks = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        for begin in (b"GET / HTTP/1.1\r\nhost: x\r\nx: ", chunks + b"3;x=", chunks + b"0\r\nx: "):
            reader, writer = await running.connect()
            writer.write(begin)
            with contextlib.suppress(ConnectionError):
                for _ in range(30):
                    writer.write(b"a" * 10_000)
                    await asyncio.sleep(0.01)
            assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 431")
            writer.close()

    run(test)


def test_requests_without_end_are_not_gathered() -> None:
    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 100_000)
        await asyncio.sleep(0.2)
        (connection,) = running.server.connections
        assert len(connection._waiting) < 20_000
        full = write_full(3) + b"abc"
        writer.write(full * 100_000 + CLOSE)
        answer = await asyncio.wait_for(reader.read(), 100)
        assert answer.count(b"HTTP/1.1 429") == 100_000
        assert answer.count(b"200 OK") == 100_002
        writer.close()

    run(test)


def test_what_is_no_http_is_refused_after_the_answers_before_it() -> None:
    async def test(running: Running) -> None:
        slow = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n"
        chunks = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        for broken in (b"rubbish\r\n\r\n", chunks + b"x\r\n"):
            for pause in (0, 0.05):
                reader, writer = await running.connect()
                writer.write(slow + slow)
                await asyncio.sleep(pause)
                writer.write(broken + CLOSE)
                answer = await asyncio.wait_for(reader.read(), 10)
                statuses = re.findall(rb"HTTP/1.1 (\d+)", answer)
                assert statuses == [b"200", b"200", b"400"]
                writer.close()
            assert (await running.send(broken)).startswith(b"HTTP/1.1 400")
        large = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n" + b"a" * 9_000_000
        reader, writer = await running.connect()
        writer.write(large + write_full(1) + b"a" + b"rubbish\r\n\r\n")
        await asyncio.sleep(0.5)  # the answer fills all buffers
        statuses = re.findall(rb"HTTP/1.1 (\d+)", await asyncio.wait_for(reader.read(), 10))
        assert statuses == [b"200", b"429", b"400"]
        writer.close()

    run(test)


def test_who_waits_to_be_told_is_told_only_that_a_body_is_wanted() -> None:
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


def test_a_handler_that_fails_closes_its_connection_alone() -> None:
    async def test(running: Running) -> None:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError, AssertionError)):
            assert await running.send(b"GET /fail HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200 OK" in await running.send(CLOSE)

    run(test)


def test_an_answer_before_the_body_is_read_arrives() -> None:
    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        writer.write(
            b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n" + b"a" * 500_000
        )
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.endswith(b"no need")
        assert b"connection: close" in answer
        writer.close()

    run(test)


def test_slow_clients_are_cut_off_and_others_answered() -> None:
    """Slowloris: many connections that send a byte now and then."""

    async def test(running: Running) -> None:
        slow = [await running.connect() for _ in range(100)]
        for _, writer in slow:
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx: ")
        bodies = [await running.connect() for _ in range(20)]
        for _, writer in bodies:
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nab")
        assert b"200 OK" in await running.send(CLOSE)
        await asyncio.sleep(1.0)
        for _, writer in slow:
            writer.write(b"a")
        ends = await asyncio.gather(*(reader.read() for reader, _ in [*slow, *bodies]))
        assert all(end.startswith(b"HTTP/1.1 408") for end in ends)
        assert all(b'"hint":"A head may take ' in end for end in ends)
        assert not running.server.connections
        for _, writer in [*slow, *bodies]:
            writer.close()

    run(test, ServerLimits(header_s=0.5, body_s=0.5))


def test_idle_connections_are_closed_without_words() -> None:
    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).count(b"HTTP/1.1") == 1
        writer.close()

    run(test, ServerLimits(idle_s=0.2))


def test_one_connection_too_many_is_told_when_all_others_are_at_work() -> None:
    async def test(running: Running) -> None:
        held = [await running.connect() for _ in range(2)]
        for _, writer in held:
            writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.sleep(0.05)
        assert (await running.send(CLOSE)).startswith(b"HTTP/1.1 503")
        for reader, writer in held:
            assert (await reader.readuntil(b"/slow")).startswith(b"HTTP/1.1 200")
            writer.close()

    assert run(test, ServerLimits(connections=2)).refused == 1


def test_the_connection_that_was_idle_for_longest_makes_room() -> None:
    async def test(running: Running) -> None:
        first, first_writer = await running.connect()
        first_writer.write(b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n")
        await first.readuntil(b"/one")
        silent, silent_writer = await running.connect()
        await asyncio.sleep(0.05)
        assert (await running.send(CLOSE)).startswith(b"HTTP/1.1 200")
        with contextlib.suppress(ConnectionError):
            assert await silent.read() == b""  # it had asked for nothing yet
        first_writer.write(CLOSE)
        assert (await first.read()).endswith(b"/a b")
        for writer in (first_writer, silent_writer):
            writer.close()

    assert run(test, ServerLimits(connections=2)).refused == 0


def test_a_stop_answers_what_is_in_flight() -> None:
    answers: list[Any] = []

    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.sleep(0.1)
        stop = asyncio.create_task(running.server.stop(5))
        answers.append(await asyncio.wait_for(reader.read(), 5))
        answers.append(await stop)
        writer.close()
        with pytest.raises(OSError):
            await running.connect()

    run(test)
    assert answers[0].endswith(b"/slow")
    assert answers[1] == 0


def test_a_stop_answers_who_has_just_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client could not know; one that says nothing holds nobody up."""
    monkeypatch.setattr("modelpad.server.http.connection.FIRST_S", 3.0)

    async def test(running: Running) -> None:
        kept, kept_writer = await running.connect()
        kept_writer.write(b"GET /kept HTTP/1.1\r\nhost: x\r\n\r\n")
        await kept.readuntil(b"/kept")
        new, new_writer = await running.connect()
        half, half_writer = await running.connect()
        half_writer.write(b"GET /half HTTP/1.1\r\nho")
        silent, _ = await running.connect()
        begun = time.monotonic()
        stop = asyncio.create_task(running.server.stop(30))
        assert await asyncio.wait_for(kept.read(), 10) == b""
        new_writer.write(b"GET /new HTTP/1.1\r\nhost: x\r\n\r\n")
        half_writer.write(b"st: x\r\n\r\n")
        for reader, path in ((new, b"/new"), (half, b"/half")):
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"connection: close" in answer
            assert answer.endswith(path)
        assert await silent.read() == b""
        assert await stop == 0
        assert 2 < time.monotonic() - begun < 20

    run(test)


def test_a_stop_cuts_off_what_takes_too_long() -> None:
    cut: list[int] = []

    async def test(running: Running) -> None:
        _, writer = await running.connect()
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.sleep(0.05)
        cut.append(await running.server.stop(0.05))
        writer.close()

    run(test)
    assert cut == [1]


def test_the_app_is_a_plain_asgi_callable() -> None:
    """So that any ASGI server can hold it; here uvicorn."""
    import threading

    uvicorn = pytest.importorskip("uvicorn")
    from modelpad.server import ModelTable, build_app

    config = uvicorn.Config(build_app(ModelTable([])), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        pass
    port = server.servers[0].sockets[0].getsockname()[1]
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").json() == {"status": "alive"}
    assert httpx.get(f"http://127.0.0.1:{port}/nothing").status_code == 404
    server.should_exit = True
    thread.join(10)


def write_full(size: int) -> bytes:
    return b"POST /full HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size


def test_a_length_with_any_number_of_zeros_is_a_length() -> None:
    async def test(running: Running) -> None:
        for path, status in ((b"/", b"200"), (b"/full", b"429")):
            head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %b3\r\n\r\n"
            answer = await running.send(head % (path, b"0" * 5000) + b"abc" + CLOSE)
            assert answer.startswith(b"HTTP/1.1 " + status)

    run(test)


def test_what_is_refused_keeps_its_connection_and_its_order() -> None:
    async def test(running: Running) -> None:
        one = b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n"
        answer = await running.send(one + (write_full(3) + b"abc") * 3 + one + CLOSE)
        statuses = re.findall(rb"HTTP/1.1 (\d+)", answer)
        assert statuses == [b"200", b"429", b"429", b"429", b"200", b"200"]
        assert answer.count(b"too much") == 3

    run(test)


def test_a_refused_body_that_comes_in_parts_is_passed_over() -> None:
    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        writer.write(write_full(10))
        await asyncio.sleep(0.05)
        writer.write(b"01234")
        await asyncio.sleep(0.05)
        writer.write(b"56789" + CLOSE)
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.count(b"HTTP/1.1 429") == 1
        assert answer.endswith(b"/a b")
        writer.close()

    run(test)


def test_a_large_body_is_refused_before_it_is_sent() -> None:
    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        writer.write(write_full(10_000_000))
        answer = await asyncio.wait_for(reader.read(), 10)
        assert b"429" in answer
        assert b"connection: close" in answer
        writer.close()

    run(test)
