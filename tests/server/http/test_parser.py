"""What httptools and the checks of heads make of what clients send, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import re

from tests.server.http.running import CLOSE, Running, run


def test_an_upgrade_to_another_protocol_is_ignored() -> None:
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


def test_input_that_is_not_http_gets_an_error() -> None:
    async def test(running: Running) -> None:
        assert (await running.send(b"\x16\x03\x01 hello\r\n\r\n")).startswith(b"HTTP/1.1 400")
        assert b"This is not HTTP" in await running.send(b"rubbish\r\n\r\n")
        long = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 70_000 + b"\r\n\r\n"
        refused = await running.send(long)
        assert refused.startswith(b"HTTP/1.1 431")
        assert b"at most 65,536 bytes" in refused
        assert (await running.send(b"GET /" + b"a" * 70_000)).startswith(b"HTTP/1.1 431")
        fields = b"".join(b"x%d: y\r\n" % number for number in range(20_000))
        many = await running.send(b"GET / HTTP/1.1\r\nhost: x\r\n" + fields + b"\r\n")
        assert many.startswith(b"HTTP/1.1 431")

    run(test)


def test_trailers_are_not_part_of_the_next_request() -> None:
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


def test_a_line_without_end_is_rejected() -> None:
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


def test_a_content_length_may_have_leading_zeros() -> None:
    async def test(running: Running) -> None:
        for path, status in ((b"/", b"200"), (b"/full", b"429")):
            head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %b3\r\n\r\n"
            answer = await running.send(head % (path, b"0" * 5000) + b"abc" + CLOSE)
            assert answer.startswith(b"HTTP/1.1 " + status)

    run(test)
