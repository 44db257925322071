"""HTTP/1.1 on sockets: what listens, counts its connections, and ends cleanly."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from socket import socket

from modelpad.server.connection import Connection
from modelpad.server.http import Request, Response, ServerLimits

Handler = Callable[[Request], Awaitable[Response]]
Refuse = Callable[[Request], Response | None]

BACKLOG = 2048
SWEEP_S = 1.0
STEP_S = 0.01  # between looks at what is still open when the server stops


class HttpServer:
    """Listens on sockets and answers with `handler` until it is stopped.

    `refuse` is asked as soon as a request's head is there: what it answers is sent without reading
    the body and without asking `handler`, as an overload must cost next to nothing.
    """

    def __init__(
        self, handler: Handler, limits: ServerLimits | None = None, refuse: Refuse | None = None
    ) -> None:
        self.handler = handler
        self.refuse = refuse
        self.limits = limits or ServerLimits()
        self.connections: set[Connection] = set()
        self.stopping = False
        self.refused = 0
        self._listeners: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None
        self._date = (0, b"")

    async def listen(self, listener: socket, tls: ssl.SSLContext | None = None) -> None:
        """Accepts connections from now on."""
        loop = asyncio.get_running_loop()
        # asyncio accepts as many at once as the backlog holds: one, so that workers share them.
        server = await loop.create_server(
            lambda: Connection(self, loop), sock=listener, ssl=tls, backlog=1
        )
        listener.listen(BACKLOG)
        self._listeners.append(server)
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    async def stop(self, grace_s: float) -> int:
        """Accepts no more, answers what is in flight within `grace_s`, then closes all.

        In flight is what has been sent to us, and what comes on a connection just accepted, whose
        client cannot know that we are leaving. Answers how many requests were cut off.
        """
        self.stopping = True
        for listener in self._listeners:
            listener.close()
        end = time.monotonic() + grace_s
        await asyncio.sleep(STEP_S)  # what has come is read, and what was accepted is here
        while self.connections and time.monotonic() < end:
            for connection in list(self.connections):
                connection.stop_when_idle()
            await asyncio.sleep(STEP_S)
        cut = sum(connection.busy for connection in self.connections)
        for connection in list(self.connections):
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

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in list(self.connections):
            if connection.deadline <= now:
                connection.time_out()
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
