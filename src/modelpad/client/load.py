"""A minimal HTTP load generator: it repeats the same request on many connections."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass, field

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HEAD_END = b"\r\n\r\n"


@dataclass(slots=True)
class Load:
    """The result of a load test: latencies, responses by status, and the duration in seconds."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    broken: int = 0

    @property
    def answers_per_s(self) -> float:
        """Successful responses per second."""
        return self.statuses[200] / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> int:
        """The number of failed responses and broken connections."""
        return self.statuses.total() - self.statuses[200] + self.broken

    def percentile_ms(self, share: float) -> float:
        """The latency in milliseconds that a `share` of the responses did not exceed."""
        ordered = sorted(self.latencies_s)
        index = min(len(ordered) - 1, int(share * len(ordered)))
        return 1000 * ordered[index] if ordered else float("nan")


def write_request(
    host: str, path: str, body: bytes, content_type: str, headers: dict[str, str] | None = None
) -> bytes:
    """A complete HTTP/1.1 request."""
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}"]
    lines += [f"content-type: {content_type}"] if content_type else []
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode("latin-1") + HEAD_END + body


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes, load: Load, end: float) -> None:
        self.request, self.load, self.end = request, load, end
        self.done = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.begin = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.begin = time.perf_counter()
        if self.begin >= self.end:
            self.transport.close()
            return
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        head = self.buffer.find(HEAD_END)
        if head < 0:
            return
        length = LENGTH.search(self.buffer, 0, head)
        size = int(length[1]) if length else 0
        if len(self.buffer) < head + 4 + size:
            return
        self.load.latencies_s.append(time.perf_counter() - self.begin)
        self.load.statuses[int(self.buffer[9:12])] += 1
        self.buffer = b""
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.begin < self.end:
            self.load.broken += 1
        if not self.done.done():
            self.done.set_result(None)


async def run_load(
    host: str, port: int, request: bytes, *, connections: int, seconds: float
) -> Load:
    """Sends requests on several connections, each as soon as the previous response arrives."""
    loop = asyncio.get_running_loop()
    load = Load()
    begin = time.perf_counter()
    end = begin + seconds
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: _Client(request, load, end), host, port)
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    load.seconds = time.perf_counter() - begin
    return load
