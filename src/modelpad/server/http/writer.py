"""Writes responses to a transport, at the speed at which the client reads."""

from __future__ import annotations

import asyncio
import time

from modelpad.server.budget import ByteBudget, Reservation
from modelpad.server.http.exchange import Exchange
from modelpad.server.http.messages import ClientGone, Response
from modelpad.server.http.response_head import DateLine, write_head
from modelpad.server.http.state import ConnectionState

CONTINUE_LINE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ResponseWriter:
    """Writes the responses of one connection."""

    __slots__ = ("_budget", "_date_line", "_state", "_transport", "_writable")

    def __init__(self, state: ConnectionState, budget: ByteBudget, date_line: DateLine) -> None:
        self._state = state
        self._budget = budget
        self._date_line = date_line
        self._transport: asyncio.Transport | None = None
        self._writable: asyncio.Future[None] | None = None

    def open(self, transport: asyncio.Transport) -> None:
        """Writes go to `transport` from now on."""
        self._transport = transport

    def close(self) -> None:
        """The connection is closed: nothing is written any more."""
        self._transport = None
        self.resume()

    def pause(self, loop: asyncio.AbstractEventLoop) -> None:
        """The transport has more to send than it should."""
        self._writable = loop.create_future()
        self._state.blocked = True

    def resume(self) -> None:
        """The transport has sent enough to go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        self._state.blocked = False

    @property
    def unsent_bytes(self) -> int:
        """What was written and not sent yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def write_last(self, response: Response) -> None:
        """Writes a response after which the connection closes."""
        if self._transport is not None and not self._transport.is_closing():
            date = self._date_line.at(time.time())
            head = write_head(response, date, keep_alive=False, is_old=False)
            self._transport.write(head + response.body)

    def write_whole(self, exchange: Exchange, response: Response) -> None:
        """Writes a response that has a body and no parts."""
        if self._transport is None or self._state.closing:
            return
        request = exchange.request
        head = self._write_head(exchange, response)
        is_head = request is not None and request.method == "HEAD"
        self._transport.write(head if is_head else head + response.body)

    async def write(self, exchange: Exchange, response: Response) -> None:
        """Writes a response, and waits until the client has read most of it.

        Raises `ClientGone` when the connection closes before the last part.
        """
        exchange.begun = True
        request = exchange.request
        if response.parts is None or (request is not None and request.method == "HEAD"):
            self.write_whole(exchange, response)
        elif self._transport is not None and not self._state.closing:
            await self._write_parts(exchange, response, self._transport)
        if self._writable is not None:
            await self._drain()
        self._state.write_part(time.monotonic())

    def ask_for_body(self, exchange: Exchange) -> None:
        """Tells a client that waits for it to send the body."""
        if exchange.expects and self._transport is not None:
            exchange.expects = False
            self._transport.write(CONTINUE_LINE)

    async def _write_parts(
        self, exchange: Exchange, response: Response, transport: asyncio.Transport
    ) -> None:
        assert response.parts is not None
        is_old = exchange.is_old
        if is_old:
            exchange.keep_alive = False  # the connection's end is the only end of the response
        exchange.reservation.force(response.held_bytes)
        self.ask_for_body(exchange)  # the parts may be made as the body is read
        transport.write(self._write_head(exchange, response))
        async for part in response.parts:
            if self._state.closing:
                raise ClientGone
            if part:
                transport.write(part if is_old else b"%x\r\n%b\r\n" % (len(part), part))
            if self._writable is not None:
                await self._drain()
            self._state.write_part(time.monotonic())
        if not is_old:
            transport.write(b"0\r\n\r\n")

    def _write_head(self, exchange: Exchange, response: Response) -> bytes:
        date = self._date_line.at(time.time())
        keep_alive = self._state.keeps(exchange)
        return write_head(response, date, keep_alive=keep_alive, is_old=exchange.is_old)

    async def _drain(self) -> None:
        """Waits until the client has read; until then, what it has not read counts as held."""
        assert self._writable is not None
        self._state.wait_for_reader(time.monotonic())
        with Reservation(self._budget) as unsent:
            unsent.force(self.unsent_bytes)
            await asyncio.shield(self._writable)
