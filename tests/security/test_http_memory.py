"""Bodies, heads and paths made to exhaust a server's memory."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelpad.server.budget import ByteBudget, Reservation
from modelpad.server.http.messages import Request, ServerLimits

MEGABYTE = 1 << 20
# The most that one worker may grow by under any attack: its byte budget, and the overhead of the
# interpreter and the allocator.
MAX_GROWTH_MB = 260

Watch = Callable[[int], Any]
Send = Callable[..., bytes]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with one worker, so that its memory is that of one process."""
    from tests.conftest import start_server, stop_server

    running = start_server("digits", "--workers", "1", store=tmp_path_factory.mktemp("store"))
    yield running
    stop_server(running)


def post(url: str, body: bytes, **headers: str) -> int:
    kind = {"content-type": "application/json"} | headers
    return httpx.post(url, content=body, headers=kind, timeout=60).status_code


BOMBS = {
    "lists": b"[" + b"[]," * 10_000_000 + b"[]]",
    "objects": b"[" + b"{}," * 10_000_000 + b"{}]",
    "strings": b"[" + b'"",' * 10_000_000 + b'""]',
    "nested": b'{"instances":[' + b"[[0]]," * 5_000_000 + b"[[0]]]}",
    "keys": b"[" + b'{"a":{}},' * 3_500_000 + b"{}]",
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize(
    "path",
    [
        "/predict/digits",
        pytest.param("/v1/models/digits:predict", marks=(pytest.mark.slow, pytest.mark.long)),
    ],
)
def test_json_bombs_are_rejected_before_decoding(
    target: Any, watch_memory: Watch, name: str, path: str
) -> None:
    url = target.url + path
    with watch_memory(target.process.pid) as watch, ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(lambda _: post(url, BOMBS[name]), range(8)))
        alive = httpx.get(f"{target.url}/healthz", timeout=5)
    assert statuses <= {413, 429}
    assert alive.status_code == 200
    assert watch.grown_mb < MAX_GROWTH_MB


def test_a_gzip_bomb_is_rejected(target: Any, watch_memory: Watch) -> None:
    packed = gzip.compress(BOMBS["lists"])
    assert len(packed) < 100_000
    with watch_memory(target.process.pid) as watch, ThreadPoolExecutor(8) as pool:
        url = f"{target.url}/predict/digits"
        send = lambda _: post(url, packed, **{"content-encoding": "gzip"})  # noqa: E731
        statuses = set(pool.map(send, range(16)))
    assert statuses <= {413, 429}
    assert watch.grown_mb < MAX_GROWTH_MB


@pytest.mark.slow
def test_rejected_images_are_freed(target: Any, watch_memory: Watch) -> None:
    """An error refers to frames and a frame to the body: a cycle would wait for the collector."""
    picture = b"\x89PNG\r\n\x1a\n" + bytes(30 * MEGABYTE)
    url = f"{target.url}/predict/digits"
    assert post(url, picture, **{"content-type": "image/png"}) == 422
    with watch_memory(target.process.pid) as watch:
        for _ in range(30):
            assert post(url, picture, **{"content-type": "image/png"}) == 422
    assert watch.grown_mb < 120


@pytest.mark.slow
def test_stalled_uploads_share_one_budget(target: Any, watch_memory: Watch) -> None:
    """A hundred clients send 31 MB each and stall; small requests still get responses."""
    host, _, port = target.address.rpartition(":")
    head = b"POST /predict/digits HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
    size = 31 * MEGABYTE

    def begin(client: socket.socket) -> None:
        with suppress(OSError):  # rejected, as others hold the budget
            client.sendall(head % size + bytes(size - 10))

    with ExitStack() as stack, watch_memory(target.process.pid) as watch:
        clients = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
            for _ in range(100)
        ]
        threads = [threading.Thread(target=begin, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert post(f"{target.url}/predict/digits", b'{"nothing": 1}') == 422
        assert httpx.get(f"{target.url}/healthz").status_code == 200
    assert watch.grown_mb < MAX_GROWTH_MB


def test_long_paths_are_not_cached(target: Any, watch_memory: Watch, send_raw: Send) -> None:
    with watch_memory(target.process.pid) as watch:
        for number in range(80):
            path = b"/predict/" + b"%%e4%d" % number + b"a" * 60_000
            answer = send_raw(
                target.address,
                b"POST " + path + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            )
            assert answer.startswith(b"HTTP/1.1 4")
            assert len(answer) < 2000
    assert watch.grown_mb < 20


def test_a_head_of_thousands_of_fields_is_rejected(
    target: Any, watch_memory: Watch, send_raw: Send
) -> None:
    fields = b"".join(b"x%d:\r\n" % number for number in range(8000))
    with watch_memory(target.process.pid) as watch:
        answer = send_raw(target.address, b"GET / HTTP/1.1\r\nhost: localhost\r\n" + fields)
    assert answer.startswith(b"HTTP/1.1 431")
    assert watch.grown_mb < 20


def test_tiny_chunks_cost_no_more_than_their_bytes(
    target: Any, watch_memory: Watch, send_raw: Send
) -> None:
    head = (
        b"POST /predict/digits HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    pieces = b"2\r\n  \r\n" * 2_000_000
    with watch_memory(target.process.pid) as watch:
        answer = send_raw(target.address, head, pieces, b"0\r\n\r\n", seconds=60)
    assert answer.startswith(b"HTTP/1.1 422")
    assert watch.grown_mb < 60


def test_a_form_of_thousands_of_parts_is_rejected(target: Any) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'
    kind = {"content-type": "multipart/form-data; boundary=b"}
    url = f"{target.url}/predict/digits"
    assert post(url, part * 20_000 + b"--b--\r\n", **kind) == 413


def test_a_line_that_arrives_byte_by_byte_is_not_searched_each_time() -> None:
    """Searching the whole buffer for each byte would block the event loop for seconds."""

    def measure(size: int) -> float:
        """The processor's seconds for 2,000 bytes, one by one, behind this many."""
        left, begun = 2000, 0.0
        held = Reservation(ByteBudget(64 * MEGABYTE))

        async def read() -> tuple[bytes, bool]:
            nonlocal left, begun
            if not begun:
                begun = -1.0
                return b" " * size, True
            if begun < 0:
                begun = time.thread_time()
            left -= 1
            return b" ", left > 0

        async def work() -> float:
            request = Request("POST", "/", b"", {}, read, ServerLimits(), held)
            assert [line async for line in request.lines(64 * MEGABYTE)] == []
            return time.thread_time() - begun

        return asyncio.run(work())

    assert measure(32 * MEGABYTE) < 5 * measure(MEGABYTE) + 0.3


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nHOST: other\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: identity\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"
         b"transfer-encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
    ],
)  # fmt: skip
def test_ambiguous_heads_are_rejected(
    target: Any, send_raw: Send, head: bytes, status: int
) -> None:
    answer = send_raw(target.address, head, seconds=5)
    assert answer.startswith(b"HTTP/1.1 %d" % status)


def test_the_largest_upload_makes_room_for_a_small_one(tmp_path: Path) -> None:
    """In one process, with a small budget: the dropped request gets an error."""
    from modelpad.server.http.messages import Response
    from modelpad.server.http.server import HttpServer

    async def echo(request: Request) -> Response:
        return Response(b"%d" % len(await request.body()), "text/plain")

    async def live() -> None:
        server = HttpServer(echo, ServerLimits(inflight_bytes=MEGABYTE))
        await server.listen(socket.create_server(("127.0.0.1", 0)))
        (listener,) = server._listeners
        port = listener.getsockname()[1]
        head = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
        large, large_writer = await asyncio.open_connection("127.0.0.1", port)
        large_writer.write(head % 1_000_000 + bytes(900_000))
        while server.budget.used < 900_000:
            await asyncio.sleep(0.01)
        small, small_writer = await asyncio.open_connection("127.0.0.1", port)
        small_writer.write(head % 200_000 + bytes(200_000))
        assert (await small.readuntil(b"200000")).startswith(b"HTTP/1.1 200")
        answer = await asyncio.wait_for(large.read(), 5)
        assert answer.startswith(b"HTTP/1.1 429")
        assert b"retry-after: 1" in answer
        for writer in (large_writer, small_writer):
            writer.close()
        await server.stop(1)
        assert server.budget.used == 0

    asyncio.run(live())
