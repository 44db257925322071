"""A server in the test's event loop, and raw connections to it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from modelpad.server.http.messages import Request, Response, ServerLimits
from modelpad.server.http.server import HttpServer

Test = Callable[["Running"], Awaitable[None]]
CLOSE = b"GET /a%20b?x=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


class Running:
    """A running server, and raw connections to it."""

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


async def wait_until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


async def echo(request: Request) -> Response:
    if request.path == "/slow":
        await asyncio.sleep(0.3)
    if request.path == "/never":
        await asyncio.Event().wait()
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
    test: Test,
    limits: ServerLimits | None = None,
    shutdown_timeout_s: float = 2.0,
    tls: ssl.SSLContext | None = None,
) -> HttpServer:
    async def live() -> HttpServer:
        listener = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(echo, limits, shed_load)
        await server.listen(listener, tls)
        await test(Running(server, listener.getsockname()[1]))
        await server.stop(shutdown_timeout_s)
        return server

    return asyncio.run(live())


def write_full(size: int) -> bytes:
    return b"POST /full HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size
