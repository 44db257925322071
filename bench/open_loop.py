"""A load at times set beforehand: a late answer delays no other request, and counts as late."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from modelpad.client.load import HEAD_END, LENGTH, Load

TICK_S = 0.001
LAST_ANSWERS_S = 5.0


class Connection(asyncio.Protocol):
    """One connection of a pace: takes what is due next whenever it is free."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.buffer = b""
        self.due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pace.give(self)

    def ask(self, due: float) -> None:
        self.due = due
        self.transport.write(self.pace.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(HEAD_END)
        length = LENGTH.search(self.buffer, 0, max(head, 0))
        if head < 0 or len(self.buffer) < head + 4 + (int(length[1]) if length else 0):
            return
        assert self.due is not None
        status = int(self.buffer[9:12])
        self.pace.load.statuses[status] += 1
        if status == 200:
            self.pace.load.latencies_s.append(time.perf_counter() - self.due)
        self.buffer, self.due = b"", None
        self.pace.give(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.pace.lose(self)


@dataclass(slots=True)
class Pace:
    """One request at a fixed rate over a few connections; `load` can be exchanged at any time.

    Latencies are those of good answers, from the time when each was due.
    """

    port: int
    request: bytes
    rate_per_s: float
    load: Load
    idle: deque[Connection] = field(default_factory=deque)
    waiting: deque[float] = field(default_factory=deque)
    missing: int = 0
    over: bool = False

    def give(self, connection: Connection) -> None:
        if self.waiting:
            connection.ask(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def lose(self, connection: Connection) -> None:
        if self.over:
            return
        self.load.broken += 1
        self.missing += 1
        if connection in self.idle:
            self.idle.remove(connection)

    async def run(self, connections: int, seconds: float) -> int:
        """Asks for so long, and waits a little for the last answers; how many never came."""
        loop = asyncio.get_running_loop()
        self.missing = connections
        asked, begin = 0, time.perf_counter()
        while (now := time.perf_counter()) < begin + seconds:
            while self.missing:
                self.missing -= 1
                try:
                    await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
                except OSError:
                    self.load.broken += 1
                    self.missing += 1
                    break
            while (due := begin + asked / self.rate_per_s) <= now:
                asked += 1
                if self.idle:
                    self.idle.popleft().ask(due)
                else:
                    self.waiting.append(due)
            await asyncio.sleep(TICK_S)
        end = time.perf_counter() + LAST_ANSWERS_S
        while len(self.idle) < connections and time.perf_counter() < end:
            await asyncio.sleep(TICK_S)
        self.over = True
        unanswered = connections - len(self.idle) + len(self.waiting)
        for connection in self.idle:
            connection.transport.close()
        return unanswered
