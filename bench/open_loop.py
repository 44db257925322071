"""An open-loop load generator: requests follow a fixed schedule, however slow the responses.

A slow response does not delay the requests after it, and its latency counts from when it was due.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from modelpad.client.load import HEAD_END, LENGTH, Load

TICK_S = 0.001
DRAIN_S = 5.0


class Connection(asyncio.Protocol):
    """One connection of an open loop; sends the next due request whenever it is free."""

    def __init__(self, source: OpenLoop) -> None:
        self.source = source
        self.buffer = b""
        self.due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.source.release(self)

    def send(self, due: float) -> None:
        self.due = due
        self.transport.write(self.source.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(HEAD_END)
        length = LENGTH.search(self.buffer, 0, max(head, 0))
        if head < 0 or len(self.buffer) < head + 4 + (int(length[1]) if length else 0):
            return
        assert self.due is not None
        status = int(self.buffer[9:12])
        self.source.load.statuses[status] += 1
        if status == 200:
            self.source.load.latencies_s.append(time.perf_counter() - self.due)
        self.buffer, self.due = b"", None
        self.source.release(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.source.discard(self)


@dataclass(slots=True)
class OpenLoop:
    """Sends one request at a fixed rate over a pool of connections.

    Results go to `load`, which can be swapped at any time. Only successful responses have a
    latency, measured from the time when the request was due. With `drops`, what is due while all
    connections wait is dropped, as by a client whose pool is exhausted, and not sent late.
    """

    port: int
    request: bytes
    rate_per_s: float
    load: Load
    idle: deque[Connection] = field(default_factory=deque)
    overdue: deque[float] = field(default_factory=deque)
    missing: int = 0
    finished: bool = False
    drops: bool = False
    dropped: int = 0

    def release(self, connection: Connection) -> None:
        """Gives a free connection the oldest overdue request, or returns it to the pool."""
        if self.overdue:
            connection.send(self.overdue.popleft())
        else:
            self.idle.append(connection)

    def discard(self, connection: Connection) -> None:
        """Counts a broken connection, which `run` replaces."""
        if self.finished:
            return
        self.load.broken += 1
        self.missing += 1
        if connection in self.idle:
            self.idle.remove(connection)

    async def run(self, connections: int, seconds: float) -> int:
        """Sends requests for `seconds`, then waits briefly; returns how many got no response."""
        loop = asyncio.get_running_loop()
        self.missing = connections
        sent, begin = 0, time.perf_counter()
        while (now := time.perf_counter()) < begin + seconds:
            while self.missing:
                self.missing -= 1
                try:
                    await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
                except OSError:
                    self.load.broken += 1
                    self.missing += 1
                    break
            while (due := begin + sent / self.rate_per_s) <= now:
                sent += 1
                if self.idle:
                    self.idle.popleft().send(due)
                elif self.drops:
                    self.dropped += 1
                else:
                    self.overdue.append(due)
            await asyncio.sleep(TICK_S)
        end = time.perf_counter() + DRAIN_S
        while len(self.idle) < connections and time.perf_counter() < end:
            await asyncio.sleep(TICK_S)
        self.finished = True
        unanswered = connections - len(self.idle) + len(self.overdue)
        for connection in self.idle:
            connection.transport.close()
        return unanswered
