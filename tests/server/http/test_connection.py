"""Connections on real sockets: pipelining, time-outs, errors and half-closed clients."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from modelpad.server.http.messages import ServerLimits
from tests.server.http.running import CLOSE, Running, run, wait_until, write_full


def test_a_connection_serves_several_requests() -> None:
    async def test(running: Running) -> None:
        answer = await running.send(b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n" * 3 + CLOSE)
        assert answer.count(b"HTTP/1.1 200 OK") == 4
        assert answer.count(b"/one") == 3
        assert answer.endswith(b"/a b")
        assert b"connection: close" in answer
        old = await running.send(b"GET / HTTP/1.0\r\n\r\n")
        assert old.endswith(b"/")

    run(test)


def test_bodies_of_any_kind_arrive_complete() -> None:
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


def test_a_half_closed_connection_gets_its_responses() -> None:
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


def test_a_tls_client_that_leaves_midway_is_not_warned_of(
    certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*certificate)
    trusting = ssl.create_default_context(cafile=str(certificate[0]))

    async def test(running: Running) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=trusting)
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        await wait_until(lambda: any(each.is_busy for each in running.server.connections))
        writer.close()
        await wait_until(lambda: not running.server.connections)

    run(test, tls=tls)
    assert caplog.messages == []


def test_endless_pipelining_does_not_fill_the_memory() -> None:
    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 30_000)
        await wait_until(lambda: any(each.state.paused for each in running.server.connections))
        (connection,) = running.server.connections
        assert len(connection.state.requests.waiting) < 1_000
        full = write_full(3) + b"abc"
        writer.write(full * 30_000 + CLOSE)
        answer = await asyncio.wait_for(reader.read(), 100)
        assert answer.count(b"HTTP/1.1 429") == 30_000
        assert answer.count(b"200 OK") == 30_002
        writer.close()

    run(test)


def test_an_error_follows_the_responses_to_earlier_requests() -> None:
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
        await wait_until(lambda: any(each.state.blocked for each in running.server.connections))
        statuses = re.findall(rb"HTTP/1.1 (\d+)", await asyncio.wait_for(reader.read(), 10))
        assert statuses == [b"200", b"429", b"400"]
        writer.close()

    run(test)


def test_a_handler_that_fails_closes_only_its_connection() -> None:
    async def test(running: Running) -> None:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError, AssertionError)):
            assert await running.send(b"GET /fail HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"200 OK" in await running.send(CLOSE)

    run(test)


def test_a_response_before_the_body_is_read_arrives() -> None:
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


def test_slow_clients_time_out_and_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowloris: many connections that send a byte now and then."""
    monkeypatch.setattr("modelpad.server.http.connection.LINGER_S", 20)

    async def test(running: Running) -> None:
        async def begin(request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await running.connect()
            writer.write(request)
            return reader, writer

        head = b"GET / HTTP/1.1\r\nhost: x\r\nx: "
        body = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nab"
        slow = [await begin(head) for _ in range(100)]
        bodies = [await begin(body) for _ in range(20)]
        assert b"200 OK" in await running.send(CLOSE)
        await wait_until(lambda: not running.server.connections)
        for _, writer in slow:
            writer.write(b"a")
        ends = await asyncio.gather(*(reader.read() for reader, _ in [*slow, *bodies]))
        assert all(end.startswith(b"HTTP/1.1 408") for end in ends)
        assert all(b'"hint":"A head may take ' in end for end in ends)
        assert not running.server.connections
        for _, writer in [*slow, *bodies]:
            writer.close()

    run(test, ServerLimits(header_s=0.5, body_s=0.5))


def test_idle_connections_are_closed_without_a_response() -> None:
    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).count(b"HTTP/1.1") == 1
        writer.close()

    run(test, ServerLimits(idle_s=0.2))


def test_shed_requests_keep_their_connection_and_their_order() -> None:
    async def test(running: Running) -> None:
        one = b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n"
        answer = await running.send(one + (write_full(3) + b"abc") * 3 + one + CLOSE)
        statuses = re.findall(rb"HTTP/1.1 (\d+)", answer)
        assert statuses == [b"200", b"429", b"429", b"429", b"200", b"200"]
        assert answer.count(b"too much") == 3

    run(test)


def test_retries_of_shed_requests_are_paced_unless_too_many_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pace_s = 1.5
    monkeypatch.setattr("modelpad.server.http.state.PACE_S", pace_s)

    async def test(running: Running) -> None:
        loop = asyncio.get_running_loop()

        async def shed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
            begin = loop.time()
            writer.write(write_full(3) + b"abc")
            answer = await asyncio.wait_for(reader.readuntil(b"too much"), 10)
            assert b"HTTP/1.1 429" in answer
            return loop.time() - begin

        first, second = [await running.connect() for _ in range(2)]
        await shed(*first)
        await shed(*second)
        waited = await asyncio.gather(shed(*first), shed(*second))
        assert max(waited) > pace_s / 2  # one connection in two may wait
        assert min(waited) < pace_s / 2
        for _, writer in (first, second):
            writer.close()

    run(test, ServerLimits(connections=2))


def test_the_body_of_a_shed_request_is_skipped() -> None:
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


def test_a_large_body_is_shed_before_it_is_sent() -> None:
    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        writer.write(write_full(10_000_000))
        answer = await asyncio.wait_for(reader.read(), 10)
        assert b"429" in answer
        assert b"connection: close" in answer
        writer.close()

    run(test)
