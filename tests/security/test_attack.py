"""Hostile clients on a real socket: after every one of them the byte budget is empty again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import socket
import ssl
import struct
import threading
import tracemalloc
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from modelpad.engine import Batcher, QueueLimits
from modelpad.errors import DeadlineExceeded
from modelpad.server.budget import ByteBudget, Reservation
from modelpad.server.http.messages import Request, Response, ServerLimits
from modelpad.server.http.server import HttpServer
from modelpad.server.http.sockets import Certificate
from modelpad.server.protocols.native import read_values
from tests.server.http.running import wait_until

Attack = Callable[[HttpServer, int], Awaitable[None]]
KILOBYTE = 1024


def run(
    attack: Attack, handler: Callable[[Request], Awaitable[Response]], limit: int = 1 << 24
) -> ByteBudget:
    """The budget of a server after an attack, when all its connections are closed."""

    async def live() -> ByteBudget:
        listener = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(handler, ServerLimits(inflight_bytes=limit))
        await server.listen(listener)
        await asyncio.wait_for(attack(server, listener.getsockname()[1]), 20)
        await server.stop(0)
        await asyncio.sleep(0.05)  # for what releases too much
        with contextlib.suppress(TimeoutError):
            await wait_until(lambda: not server.budget.used, 5)
        return server.budget

    return asyncio.run(live())


async def echo(request: Request) -> Response:
    return Response(await request.body(), "text/plain")


async def connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.setblocking(False)
    return client


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_a_request_refused_before_its_handler_starts_releases_its_bytes() -> None:
    """The head and the broken chunk arrive in one read."""

    async def attack(server: HttpServer, port: int) -> None:
        head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        for _ in range(5):
            client = await connect(port)
            await asyncio.get_running_loop().sock_sendall(
                client, head + b"1388\r\n" + bytes(5000) + b"\r\nno chunk\r\n"
            )
            answer = await asyncio.get_running_loop().sock_recv(client, 4096)
            assert answer.startswith(b"HTTP/1.1 400")
            client.close()

    assert run(attack, echo).used == 0


def test_a_pipelined_request_of_a_client_that_reset_releases_its_bytes() -> None:
    """The failed write closes the connection before the next handler starts."""
    gates: list[asyncio.Event] = []

    async def wait(request: Request) -> Response:
        await gates[-1].wait()
        return Response(b"late", "text/plain")

    async def attack(server: HttpServer, port: int) -> None:
        for _ in range(5):
            gates.append(asyncio.Event())
            client = await connect(port)
            await asyncio.get_running_loop().sock_sendall(
                client, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 60
            )
            while not any(each.state.paused for each in server.connections):
                await asyncio.sleep(0.01)
            reset(client)
            await asyncio.sleep(0.01)
            gates[-1].set()
            await asyncio.sleep(0.05)

    assert run(attack, wait).used == 0


def test_evicting_a_connection_while_it_sends_a_head_releases_no_more_than_it_held() -> None:
    """Requests that wait behind a slow one hold more than the head that comes after them."""

    async def wait(request: Request) -> Response:
        await asyncio.sleep(30)
        return Response(b"late", "text/plain")

    async def attack(server: HttpServer, port: int) -> None:
        loop = asyncio.get_running_loop()
        client = await connect(port)
        one = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n" + bytes(60000)
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" + one * 2)
        while server.budget.used < 120_000:
            await asyncio.sleep(0.01)
        # As much more as just does not fit, in two parts of a head.
        head = b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x-a: " + bytes(b"a" * 2000) + b"\r\n"
        await loop.sock_sendall(client, head)
        await asyncio.sleep(0.1)
        server.budget.limit = server.budget.used + 1000
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(client, b"x-b: " + b"b" * 2000 + b"\r\n")
        await asyncio.sleep(0.1)
        client.close()

    assert run(attack, wait).used == 0


class Instant:
    """A session that returns its input, after `gate` is open."""

    can_split = False
    title = "instant"

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate = gate
        self.started = threading.Event()
        self.typed = SimpleNamespace(
            inputs=self,
            outputs=self,
            joins=True,
            is_batch_first=True,
            decode=self.decode,
            encode_small=lambda values, outputs: {},
        )
        self.axes = {"x": 0}

    def find_signature(self, name: str) -> Instant:
        return self

    def count_items(self, arrays: dict[str, Any]) -> int:
        return len(arrays["x"])

    def decode(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"x": np.zeros((1, 1), np.float32)}

    def predict(self, arrays: dict[str, Any], run: object) -> dict[str, Any]:
        self.started.set()
        if self.gate is not None:
            self.gate.wait(10)
        return arrays


class Large:
    """A decoded input that can be watched."""


def test_an_idle_engine_thread_does_not_keep_its_last_request() -> None:
    async def ask() -> None:
        engine = Batcher(cast("Any", Instant()))
        large = Large()
        watched = weakref.ref(large)
        await engine.answer({"x": large})
        del large
        try:
            await wait_until(lambda: watched() is None)
        finally:
            engine.close()

    asyncio.run(ask())


@pytest.mark.parametrize("timeout_s", [0.3, 5])
def test_a_queued_request_that_was_cancelled_or_timed_out_is_not_kept(timeout_s: float) -> None:
    """Its bytes are released, while the engine's only thread is still busy with another."""

    async def ask() -> None:
        gate = threading.Event()
        session = Instant(gate)
        engine = Batcher(cast("Any", session), limits=QueueLimits(timeout_s=timeout_s))
        first = asyncio.create_task(engine.answer({"x": 1}))
        await wait_until(session.started.is_set)
        large = Large()
        watched = weakref.ref(large)

        async def handle(value: Large) -> None:
            with contextlib.suppress(asyncio.CancelledError, DeadlineExceeded):
                await engine.answer({"x": value})

        second = asyncio.create_task(handle(large))
        del large
        await asyncio.wait([second], timeout=0.5)
        second.cancel()
        await asyncio.wait([second])
        gc.collect()
        kept = watched()
        gate.set()
        with contextlib.suppress(DeadlineExceeded):
            await first
        engine.close()
        assert kept is None

    asyncio.run(ask())


def test_a_connection_evicted_before_it_is_opened_closes_its_socket() -> None:
    """More clients connect within one turn of the event loop than connections are allowed."""

    def count() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    async def live() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(echo, ServerLimits(connections=2))
        await server.listen(listener)
        before = count()
        gc.disable()
        try:
            for _ in range(30):
                (await connect(listener.getsockname()[1])).close()
            await wait_until(lambda: count() <= before)
        finally:
            gc.enable()
            await server.stop(0)

    asyncio.run(live())


def test_a_multipart_form_is_freed_without_the_garbage_collector() -> None:
    size = 4 << 20
    part = b'--b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = part + bytes(size) + b"\r\n--b--\r\n"

    async def read() -> tuple[bytes, bool]:
        return body, False

    headers = {"content-type": "multipart/form-data; boundary=b"}
    held = Reservation(ByteBudget(1 << 30))
    request = Request("POST", "/", b"", headers, read, ServerLimits(), held)
    signature = cast("Any", None)
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(3):
            assert len(cast("bytes", read_values(request, body, signature)["image"])) == size
        assert tracemalloc.get_traced_memory()[0] < size
    finally:
        tracemalloc.stop()
        gc.enable()


def test_decompressing_a_body_takes_no_copies_of_it() -> None:
    size = 8 << 20
    packed = gzip.compress(bytes(size), 0)
    parts = [packed[:1000], packed[1000:]]

    async def read() -> tuple[bytes, bool]:
        return parts.pop(0), bool(parts)

    headers = {"content-encoding": "gzip"}
    held = Reservation(ByteBudget(1 << 30))
    request = Request("POST", "/", b"", headers, read, ServerLimits(), held)

    async def measure() -> int:
        return len(await request.body())

    tracemalloc.start()
    try:
        assert asyncio.run(measure()) == size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The packed body, the growing plain one, and its copy at the end.
    assert peak < 3.5 * size


@pytest.mark.parametrize("request_line", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"])
def test_closed_tls_connections_are_freed_without_the_garbage_collector(
    certificate: tuple[Path, Path], request_line: bytes
) -> None:
    """Each has a buffer of 256 KB; without a request, its handshake is cut short."""
    count = 20
    most = count * 64 * KILOBYTE

    def ask(port: int) -> None:
        trusting = ssl.create_default_context(cafile=certificate[0])
        trusting.check_hostname = False
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", port)) as client:
                if request_line:
                    with trusting.wrap_socket(client) as wrapped:
                        wrapped.sendall(request_line)
                        assert wrapped.recv(100)

    async def live() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(echo)
        await server.listen(listener, Certificate(*certificate).open())
        before = tracemalloc.get_traced_memory()[0]
        await asyncio.to_thread(ask, listener.getsockname()[1])
        await wait_until(lambda: tracemalloc.get_traced_memory()[0] - before < most)
        await server.stop(0)

    gc.disable()
    tracemalloc.start()
    try:
        asyncio.run(live())
    finally:
        tracemalloc.stop()
        gc.enable()
