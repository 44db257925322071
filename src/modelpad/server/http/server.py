"""HTTP/1.1 on sockets: listens, admits connections, sweeps slow ones, and shuts down cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from socket import socket

from modelpad.errors import forget_frames
from modelpad.server.allocator import trim_soon
from modelpad.server.budget import ByteBudget
from modelpad.server.http.connection import READ_BYTES, Connection
from modelpad.server.http.messages import ServerLimits
from modelpad.server.http.pool import ConnectionPool
from modelpad.server.http.response_head import DateLine
from modelpad.server.http.service import Handler, Service, ShedLoad
from modelpad.server.http.shared_listener import SharedListener
from modelpad.server.http.sockets import count_free_descriptors, shrink_tls_buffers
from modelpad.server.http.turns import AcceptTurns

BACKLOG = 2048
SWEEP_S = 1.0
STEP_S = 0.01  # between checks of what is still open during shutdown
RETRY_S = 0.05  # after the system had no descriptor, or no memory, for a connection
MAX_SURPLUS = 32  # connections beyond the limit that get a 503; others are just closed
HELD_SHARE = 0.5  # of all connections: at most so many wait for a rejection
MANY_CLOSED = 50  # connections in a second


class HttpServer:
    """Listens on sockets and passes requests to `handler` until it is stopped.

    `shed_load` is called when a request's head is complete and it is its turn: the response that it
    returns is sent without reading the body or calling `handler`, as overload must cost next to
    nothing.

    Connections count from the moment they are accepted, before a TLS handshake, until their socket
    is closed. When there are too many, the one idle for longest is closed; when all are busy, the
    new one gets a 503.
    """

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits | None = None,
        shed_load: ShedLoad | None = None,
        budget: ByteBudget | None = None,
    ) -> None:
        self.limits = limits or ServerLimits()
        self.budget = budget or ByteBudget(self.limits.inflight_bytes)
        self.max_connections = self.limits.connections
        self.refused = 0  # connections
        self._service = Service(handler, self.limits, self.budget, shed_load)
        self._pool: ConnectionPool[Connection] = ConnectionPool(self.budget)
        self._read_buffer = memoryview(bytearray(READ_BYTES))
        self._date_line = DateLine()
        self._turns: AcceptTurns | None = None
        self._listeners: dict[socket, asyncio.Task[None]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> set[Connection]:
        """Open connections, except those whose last response is only waiting to be read."""
        return self._pool.open

    def make_connection(self, loop: asyncio.AbstractEventLoop) -> Connection:
        """The protocol of one accepted socket."""
        return Connection(self._service, self._pool, self._read_buffer, self._date_line, loop)

    async def listen(
        self,
        listener: socket,
        tls: ssl.SSLContext | None = None,
        *,
        kept_descriptors: int = 0,
        turns: AcceptTurns | None = None,
    ) -> None:
        """Accepts connections from now on; as many at most as there are descriptors for them.

        `kept_descriptors` are left for other parts of this process. With `turns`, other workers
        accept from `listener` too.
        """
        loop = asyncio.get_running_loop()
        free = max(1, count_free_descriptors() - kept_descriptors)
        self.max_connections = min(self.limits.connections, free)
        self._pool.max_held = int(HELD_SHARE * self.max_connections)
        if tls is not None:
            shrink_tls_buffers(READ_BYTES)
        listener.setblocking(False)
        listener.listen(BACKLOG)
        if turns is not None:
            self._turns = turns
            self._pool.changed = turns.report
            turns.report(0)
        self._listeners[listener] = loop.create_task(self._accept_all(listener, tls))
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    async def stop(self, shutdown_timeout_s: float) -> int:
        """Accepts no more, finishes requests in flight within `shutdown_timeout_s`, closes all.

        In flight is what clients have sent, and what arrives on a connection just accepted, whose
        client cannot know that the server is shutting down. Returns how many requests were cut off.
        """
        self._service.stopping = True
        if self._turns is not None:
            self._pool.changed = lambda open_count: None
            self._turns.leave()
        for listener, task in self._listeners.items():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            listener.close()
        end = time.monotonic() + shutdown_timeout_s
        await asyncio.sleep(STEP_S)  # to read input on connections just accepted
        while self.connections and time.monotonic() < end:
            for connection in list(self.connections):
                connection.stop_when_idle()
            await asyncio.sleep(STEP_S)
        cut = sum(connection.is_busy for connection in self.connections)
        for connection in [*self.connections, *self._pool.lingering]:
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return cut

    async def _accept_all(self, listener: socket, tls: ssl.SSLContext | None) -> None:
        """Accepts one connection at a time, so that workers share them."""
        loop = asyncio.get_running_loop()
        shared = None if self._turns is None else SharedListener(listener, self._turns)
        while True:
            accepted: socket | None
            try:
                if shared is None:
                    accepted, _ = await loop.sock_accept(listener)
                else:
                    accepted = await shared.accept(len(self._pool.open))
            except ConnectionError:
                continue  # the client has already disconnected
            except (OSError, MemoryError):  # no descriptor is left, or no memory
                self._pool.evict_idlest()
                await asyncio.sleep(RETRY_S)
                continue
            if accepted is not None:
                self._admit(accepted, tls)

    def _admit(self, accepted: socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        connection = self.make_connection(loop)
        surplus = len(self._pool) - self.max_connections
        if surplus >= 0 and not self._pool.evict_idlest():
            self.refused += 1
            connection.is_surplus = True
            if surplus >= MAX_SURPLUS or tls is not None:
                accepted.close()
                return
        self._pool.add(connection)
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
        except (OSError, asyncio.CancelledError) as error:  # no handshake, or too late
            forget_frames(error)  # they hold TLS buffers
            self._pool.discard(connection)
            accepted.close()
        finally:
            connection.opening = None

    def _sweep(self) -> None:
        if self._pool.time_out(time.monotonic()) > MANY_CLOSED:
            trim_soon()  # each held buffers, especially for TLS
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
