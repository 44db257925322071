"""Too many connections, and a clean shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from modelpad.server.http.messages import ServerLimits
from tests.server.http.running import CLOSE, Running, run, wait_until


def test_a_connection_too_many_gets_503_when_all_others_are_busy() -> None:
    async def test(running: Running) -> None:
        held = [await running.connect() for _ in range(2)]
        for _, writer in held:
            writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        await wait_until(lambda: sum(each.is_busy for each in running.server.connections) == 2)
        assert (await running.send(CLOSE)).startswith(b"HTTP/1.1 503")
        for reader, writer in held:
            assert (await reader.readuntil(b"/slow")).startswith(b"HTTP/1.1 200")
            writer.close()

    assert run(test, ServerLimits(connections=2)).refused == 1


def test_the_connection_idle_for_longest_is_closed_for_a_new_one() -> None:
    async def test(running: Running) -> None:
        first, first_writer = await running.connect()
        first_writer.write(b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n")
        await first.readuntil(b"/one")
        silent, silent_writer = await running.connect()
        await wait_until(lambda: len(running.server.connections) == 2)
        assert (await running.send(CLOSE)).startswith(b"HTTP/1.1 200")
        with contextlib.suppress(ConnectionError):
            assert await silent.read() == b""  # it had asked for nothing yet
        first_writer.write(CLOSE)
        assert (await first.read()).endswith(b"/a b")
        for writer in (first_writer, silent_writer):
            writer.close()

    assert run(test, ServerLimits(connections=2)).refused == 0


def test_shutdown_finishes_requests_in_flight() -> None:
    answers: list[Any] = []

    async def test(running: Running) -> None:
        reader, writer = await running.connect()
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        await wait_until(lambda: any(each.is_busy for each in running.server.connections))
        stop = asyncio.create_task(running.server.stop(5))
        answers.append(await asyncio.wait_for(reader.read(), 5))
        answers.append(await stop)
        writer.close()
        with pytest.raises(OSError):
            await running.connect()

    run(test)
    assert answers[0].endswith(b"/slow")
    assert answers[1] == 0


def test_shutdown_serves_clients_that_have_just_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client could not know; one that says nothing holds nobody up."""
    monkeypatch.setattr("modelpad.server.http.state.FIRST_S", 3.0)

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


def test_shutdown_aborts_requests_that_take_too_long() -> None:
    cut: list[int] = []

    async def test(running: Running) -> None:
        _, writer = await running.connect()
        writer.write(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n")
        await wait_until(lambda: any(each.is_busy for each in running.server.connections))
        cut.append(await running.server.stop(0.05))
        writer.close()

    run(test)
    assert cut == [1]
