"""HTTP/1.1 on sockets: what listens, counts its connections, and ends cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from socket import socket

from modelpad.errors import forget_frames
from modelpad.server.allocator import trim_soon
from modelpad.server.budget import ByteBudget
from modelpad.server.http.connection import Connection
from modelpad.server.http.messages import Request, Response, ServerLimits
from modelpad.server.http.sockets import count_free_descriptors, shrink_tls_buffers

Handler = Callable[[Request], Awaitable[Response]]
ShedLoad = Callable[[Request], Response | None]

BACKLOG = 2048
SWEEP_S = 1.0
STEP_S = 0.01  # between looks at what is still open when the server stops
READ_BYTES = 64 * 1024
RETRY_S = 0.05  # after the system had no descriptor, or no memory, for a connection
MAX_SURPLUS = 32  # connections beyond the limit that are told so, and not just closed
BUSY_RANK = 3
MANY_CLOSED = 50  # connections in a second


class HttpServer:
    """Listens on sockets and answers with `handler` until it is stopped.

    `shed_load` is asked as soon as a request's head is there: what it answers is sent without
    reading the body and without asking `handler`, as an overload must cost next to nothing.

    Connections count from the moment they are accepted, before a TLS handshake, until their socket
    is closed. When there are too many, the one that has been idle for longest makes room; when all
    are at work, the new one is told 503.
    """

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits | None = None,
        shed_load: ShedLoad | None = None,
        budget: ByteBudget | None = None,
    ) -> None:
        self.handler = handler
        self.shed_load = shed_load
        self.limits = limits or ServerLimits()
        self.budget = budget or ByteBudget(self.limits.inflight_bytes)
        self.budget.evict = self._evict_bytes
        self.connections: set[Connection] = set()
        self.lingering: set[Connection] = set()  # answered, and closed as soon as that is read
        self.max_connections = self.limits.connections
        self.read_buffer = memoryview(bytearray(READ_BYTES))  # a slice of it is no copy
        self.stopping = False
        self.refused = 0
        self.closed = 0  # connections, since the last sweep
        self._listeners: dict[socket, asyncio.Task[None]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._date = (0, b"")

    async def listen(
        self, listener: socket, tls: ssl.SSLContext | None = None, *, kept_descriptors: int = 0
    ) -> None:
        """Accepts connections from now on; as many at most as there are descriptors for them.

        `kept_descriptors` are for others of this process.
        """
        loop = asyncio.get_running_loop()
        free = max(1, count_free_descriptors() - kept_descriptors)
        self.max_connections = min(self.limits.connections, free)
        if tls is not None:
            shrink_tls_buffers(READ_BYTES)
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._listeners[listener] = loop.create_task(self._accept_all(listener, tls))
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    async def stop(self, shutdown_timeout_s: float) -> int:
        """Accepts no more, answers what is in flight within `shutdown_timeout_s`, then closes all.

        In flight is what has been sent to us, and what comes on a connection just accepted, whose
        client cannot know that we are leaving. Answers how many requests were cut off.
        """
        self.stopping = True
        for listener, task in self._listeners.items():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            listener.close()
        end = time.monotonic() + shutdown_timeout_s
        await asyncio.sleep(STEP_S)  # what has come is read, and what was accepted is here
        while self.connections and time.monotonic() < end:
            for connection in list(self.connections):
                connection.stop_when_idle()
            await asyncio.sleep(STEP_S)
        cut = sum(connection.busy for connection in self.connections)
        for connection in [*self.connections, *self.lingering]:
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return cut

    def date_line(self) -> bytes:
        """The `date` header, made once a second."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, f"date: {formatdate(now, usegmt=True)}\r\n".encode())
        return self._date[1]

    async def _accept_all(self, listener: socket, tls: ssl.SSLContext | None) -> None:
        """Accepts one connection at a time, so that workers share them."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except ConnectionError:
                continue  # its client has gone already
            except (OSError, MemoryError):  # no descriptor is left, or no memory
                self._evict_connection()
                await asyncio.sleep(RETRY_S)
                continue
            self._admit(accepted, tls)

    def _admit(self, accepted: socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(self, loop)
        surplus = len(self.connections) + len(self.lingering) - self.max_connections
        if surplus >= 0 and not self._evict_connection():
            self.refused += 1
            connection.is_surplus = True
            if surplus >= MAX_SURPLUS or tls is not None:
                accepted.close()
                return
        self.connections.add(connection)
        connection.opening = loop.create_task(self._open(connection, accepted, tls))

        def close_unopened(task: asyncio.Task[object]) -> None:
            if task.cancelled():  # before it started, or it would have closed the socket itself
                accepted.close()

        connection.opening.add_done_callback(close_unopened)

    async def _open(
        self, connection: Connection, accepted: socket, tls: ssl.SSLContext | None
    ) -> None:
        handshake_s = None if tls is None else self.limits.header_s
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: connection, accepted, ssl=tls, ssl_handshake_timeout=handshake_s
            )
        except (OSError, asyncio.CancelledError) as error:  # no handshake, or not in time
            forget_frames(error)  # they hold the buffers of TLS
            self.connections.discard(connection)
            self.closed += 1
            accepted.close()
        finally:
            connection.opening = None

    def _evict_connection(self) -> bool:
        """Closes the connection that has been idle for longest; answers whether there was one."""
        every = [*self.lingering, *self.connections]
        idlest = min(every, key=lambda each: each.eviction_rank, default=None)
        if idlest is None or idlest.eviction_rank[0] >= BUSY_RANK:
            return False
        idlest.abort()
        self.connections.discard(idlest)
        self.lingering.discard(idlest)
        return True

    def _evict_bytes(self, size: int, total: int) -> None:
        """Drops the largest unfinished requests, of those that hold more than `total`.

        Stops when `size` bytes are free that were not before.
        """
        enough = self.budget.used - size
        held = {each: each.evictable_bytes for each in self.connections}
        heavy = sorted((each for each in held if held[each] > total), key=lambda each: -held[each])
        for connection in heavy:
            connection.evict()
            if self.budget.used <= enough:
                return

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in list(self.connections):
            if connection.deadline <= now:
                connection.time_out()
        if self.closed > MANY_CLOSED:
            trim_soon()  # each held buffers, of TLS above all
        self.closed = 0
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
