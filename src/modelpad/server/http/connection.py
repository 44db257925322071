"""One client's connection: performs on a transport what `state.py` decides.

One protocol object a connection, one task a request, one write a response.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from http import HTTPStatus
from typing import cast

from modelpad.server.errors import respond_problem
from modelpad.server.http import actions as act
from modelpad.server.http.exchange import Exchange
from modelpad.server.http.messages import ClientGone
from modelpad.server.http.pool import ConnectionPool
from modelpad.server.http.response_head import DateLine
from modelpad.server.http.service import Service
from modelpad.server.http.state import ConnectionState
from modelpad.server.http.writer import ResponseWriter

log = logging.getLogger("modelpad.server")

LINGER_S = 2.0
READ_BYTES = 64 * 1024


class Connection(asyncio.BufferedProtocol):
    """One client's connection.

    It is made when its socket is accepted, before a TLS handshake: until then it is `opening`.
    """

    def __init__(
        self,
        service: Service,
        pool: ConnectionPool[Connection],
        buffer: memoryview,
        date_line: DateLine,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """All connections of a server read into one `buffer`: each read is parsed at once."""
        self.state = ConnectionState(service, self._read_body, time.monotonic())
        self.transport: asyncio.Transport | None = None
        self.opening: asyncio.Task[object] | None = None
        self.is_surplus = False  # over the connection limit: rejected and closed
        self._service = service
        self._pool = pool
        self._buffer = buffer
        self._loop = loop
        self._writer = ResponseWriter(self.state, service.budget, date_line)
        self._task: asyncio.Task[None] | None = None  # of the request being handled
        self._held: asyncio.TimerHandle | None = None  # until a refusal may be written
        self._waiter: asyncio.Future[None] | None = None  # for more of its body

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is established, with its TLS handshake."""
        self.transport = cast("asyncio.Transport", transport)
        self._writer.open(self.transport)
        peer = transport.get_extra_info("peername")
        self.state.open(str(peer[0]) if isinstance(peer, tuple) else "")
        if self.is_surplus:
            self._perform(
                self.state.refuse(
                    respond_problem(
                        HTTPStatus.SERVICE_UNAVAILABLE,
                        "Too many connections are open.",
                        "Try again in a second.",
                    )
                )
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._pool.discard(self)
        if self._held is not None:
            self._held.cancel()
        self._perform(self.state.lose())
        self._writer.close()
        self.transport = None  # with its buffers

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes were received."""
        actions = self.state.receive(self._buffer[:nbytes], time.monotonic())
        if actions:
            self._perform(actions)

    def eof_received(self) -> bool:
        """The client sends no more; returns whether to keep the connection for a response.

        Over TLS, which asyncio always closes then, it warns of any other wish.
        """
        self._perform(self.state.end_input())
        transport = self.transport
        is_secure = transport is not None and transport.get_extra_info("sslcontext") is not None
        return self.is_busy and not is_secure

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self._writer.pause(self._loop)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writer.resume()

    # Called by the server and its pool.

    @property
    def is_busy(self) -> bool:
        """Whether a request is being handled, or its refusal is held."""
        return self.state.requests.current is not None or self.state.held

    @property
    def unsent_bytes(self) -> int:
        """What was written and not sent yet."""
        return self._writer.unsent_bytes

    def evict(self) -> None:
        """Drops its unfinished requests, to make room for another."""
        self._perform(self.state.evict())

    def time_out(self, now: float) -> None:
        """The deadline has passed."""
        self._perform(self.state.time_out(now))

    def stop_when_idle(self) -> None:
        """Closes unless a request is being received or handled, or is about to arrive."""
        self._perform(self.state.stop_when_idle(time.monotonic()))

    def abort(self) -> None:
        """Closes at once."""
        self._perform(self.state.abort())

    # Actions.

    def _perform(self, actions: int) -> None:
        while actions & act.REFUSE:
            self._apply(actions)
            exchange = self.state.requests.current
            assert exchange is not None
            assert exchange.refusal is not None
            self._writer.write_whole(exchange, exchange.refusal)
            actions = self.state.finish_response(time.monotonic())
        if actions:
            self._apply(actions)

    def _apply(self, actions: int) -> None:
        if actions & act.START:
            assert self.state.requests.current is not None
            self._task = self._loop.create_task(self._respond(self.state.requests.current))
            if actions == act.START:  # as for nearly every request
                return
        if actions & act.WAKE and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if actions & act.CANCEL and self._task is not None:
            self._task.cancel()
        if actions & act.TELL:
            assert self.state.last_response is not None
            self._writer.write_last(self.state.last_response)
        if actions & (act.PAUSE | act.RESUME | act.LINGER | act.CLOSE | act.ABORT):
            self._apply_to_transport(actions)
        if actions & act.HOLD:
            self._hold()

    def _hold(self) -> None:
        """Writes the refusal later; at once if too many connections wait like that."""
        if self._pool.hold(self):
            self._held = self._loop.call_at(self.state.held_until, self._release)
        else:
            self._perform(self.state.release(time.monotonic()))

    def _release(self) -> None:
        self._held = None
        self._pool.held.discard(self)
        if self.state.held:
            self._perform(self.state.release(time.monotonic()))

    def _apply_to_transport(self, actions: int) -> None:
        transport = self.transport
        if transport is None:  # before the TLS handshake is done, or after the end
            if actions & (act.CLOSE | act.ABORT) and self.opening is not None:
                self.opening.cancel()
            return
        if actions & act.LINGER:
            self._pool.linger(self)
            with contextlib.suppress(OSError, NotImplementedError):
                transport.write_eof()
            self._loop.call_later(LINGER_S, transport.abort)
        if not transport.is_closing():
            if actions & act.PAUSE:
                transport.pause_reading()
            elif actions & act.RESUME:
                transport.resume_reading()
        if actions & act.CLOSE:
            transport.close()
        elif actions & act.ABORT:
            transport.abort()

    async def _respond(self, exchange: Exchange) -> None:
        exchange.started = True
        request, response = exchange.request, exchange.refusal
        try:
            if response is None:
                assert request is not None
                response = await self._service.handler(request)
            await self._writer.write(exchange, response)
        except (ClientGone, asyncio.CancelledError):
            self._perform(self.state.fail_response())
        except Exception:
            log.exception("failed: %s", request and f"{request.method} {request.path}")
            self._perform(self.state.fail_response())
        else:
            actions = self.state.finish_response(time.monotonic())
            if actions:
                self._perform(actions)

    async def _read_body(self, exchange: Exchange) -> tuple[bytes | bytearray, bool]:
        while not exchange.part and not exchange.complete:
            if exchange.gone:
                raise ClientGone
            self._writer.ask_for_body(exchange)
            self._waiter = self._loop.create_future()
            await self._waiter
            self._waiter = None
        part = exchange.take()
        actions = self.state.read_body()
        if actions:
            self._perform(actions)
        return part, not exchange.complete
