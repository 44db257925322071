"""One client's connection: httptools parses, the app answers; limits, time-outs and a clean end.

The way is short on purpose: one protocol object a connection, one task a request, one write an
answer. It guards against clients that are slow, many, or send heads without end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import httptools

from modelpad.errors import ModelpadError, forget_frames
from modelpad.server.budget import Reservation, too_many_bytes
from modelpad.server.errors import respond_error, respond_problem
from modelpad.server.http.exchange import Exchange
from modelpad.server.http.heads import HeadRefused, check_fields, check_head, head_too_large
from modelpad.server.http.messages import ClientGone, Request, Response, read_count

if TYPE_CHECKING:
    from modelpad.server.http.server import HttpServer

log = logging.getLogger("modelpad.server")

FIRST_S = 1.0  # a client that has just connected is about to ask
LINGER_S = 2.0
PAUSE_BYTES = 64 * 1024  # of a body that nobody has read yet
# Requests are parsed a few at a time, so that pipelined ones wait as bytes and not as objects.
SLICE_BYTES = 16 * 1024
MAX_PIPELINED = 32
# What CPython takes for a request's head, beside its text: objects, and each field.
HEAD_BYTES = 2048
FIELD_BYTES = 200
PHRASES = {status.value: status.phrase for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.BufferedProtocol):
    """One client: requests are answered one after the other, in their order.

    It is made when its socket is accepted, before a TLS handshake: until then it is `opening`.
    """

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.loop = loop
        self.begun = self.active_at = time.monotonic()
        self.deadline = self.begun + server.limits.header_s
        self.transport: asyncio.Transport | None = None
        self.opening: asyncio.Task[object] | None = None
        self.is_surplus = False  # it is told that there are too many
        self._client = ""
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Exchange] = deque()
        self._current: Exchange | None = None  # being answered
        self._coming: Exchange | None = None  # being received
        self._task: asyncio.Task[None] | None = None
        self._url = b""
        self._plain_head = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._fields = 0  # of the head that comes, a multiple field counted as often as it comes
        self._head_reserved = 0
        self._untold_bytes = 0  # since a head was whole or a body went on
        self._body_left = 0  # of a body whose length was declared
        self._unparsed = b""
        self._parsing = False
        self._asked = False  # a request's head has come
        self._ended = False  # the client sends no more
        self._broken = False  # what came is no HTTP, and nothing after it is read
        self._closing = False
        self._paused = False
        self._writable: asyncio.Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._current is not None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected; its TLS handshake is done."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if isinstance(peer, tuple) else ""
        if self.is_surplus:
            self._refuse(
                respond_problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "Too many connections are open.",
                    "Try again in a second.",
                )
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: what it asked for is of no use any more."""
        self.server.connections.discard(self)
        self.server.lingering.discard(self)
        self.server.closed += 1
        self._closing = True
        self._unparsed, self._headers, self._url = b"", {}, b""
        del self._parser  # it refers to this connection, which would wait for garbage collection
        self._release_head()
        for exchange in (self._current, self._coming, *self._waiting):
            if exchange is not None:
                exchange.gone = True
                exchange.wake()
                if exchange is not self._current:
                    exchange.finish()
        self._cancel_task()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self.transport = None  # with its buffers; the parser and this object form a cycle

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read into: one buffer serves all connections, as each read is parsed at once."""
        return self.server.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parses what came."""
        if self._closing or self._broken:
            return
        now = self.active_at = time.monotonic()
        if self._coming is None and self._current is None:
            self.deadline = min(self.deadline, now + self.server.limits.header_s)
        self._parse(self.server.read_buffer[:nbytes])

    def _parse(self, data: memoryview) -> None:
        """Parses slice by slice; what more requests than may wait leave over is kept as bytes."""
        self._parsing = True
        while data and not (self._closing or self._broken):
            size = max(SLICE_BYTES, self._body_left)
            self._parse_slice(bytes(data[:size]))
            data = data[size:]
            if self._current is None:
                self._start_next()
            if len(self._waiting) > MAX_PIPELINED:
                self._pause()
                break
        self._unparsed = bytes(data) if not (self._closing or self._broken) else b""
        self._parsing = False

    def _parse_slice(self, data: bytes) -> None:
        limits = self.server.limits
        try:
            self._untold_bytes += len(data)
            self._feed(data)
            if self._untold_bytes > limits.header_bytes:
                raise httptools.HttpParserError("a line has no end")
            self._reserve_head()
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, HeadRefused):
                self._refuse_in_turn(cause.response)
            elif isinstance(cause, ModelpadError):
                self._refuse_bytes(cause)
            elif max(self._head_bytes, self._untold_bytes) > limits.header_bytes:
                self._refuse_in_turn(head_too_large(limits.header_bytes).response)
            else:
                self._refuse_in_turn(
                    respond_problem(
                        HTTPStatus.BAD_REQUEST,
                        f"This is not HTTP: {error}.",
                        "Send HTTP/1.1; https:// only where the server has a certificate.",
                    )
                )
        except ModelpadError as error:
            self._refuse_bytes(error)

    def eof_received(self) -> bool:
        """The client will send no more; an answer that is on its way is still sent."""
        if self._coming is not None and not self._unparsed:
            self._coming.gone = True
            self._coming.wake()
        self._ended = True
        return self._current is not None

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # What httptools calls.

    def on_url(self, url: bytes) -> None:
        """The target, perhaps in parts."""
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of the head; fields given twice are joined as the standard says."""
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._count_head(len(name) + len(value))
        self._fields += 1
        check_fields(self._headers, key, self._fields)
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """The head is whole: an exchange begins."""
        if self._parser.should_upgrade():
            self._plain_head = self._write_plain_head()
            return
        is_old = self._parser.get_http_version() == "1.0"
        headers = self._headers
        check_head(headers, is_old=is_old)
        exchange = Exchange(
            self.server.budget, keep_alive=self._parser.should_keep_alive(), is_old=is_old
        )
        head_bytes = HEAD_BYTES + FIELD_BYTES * len(headers) + 2 * self._head_bytes
        exchange.reservation.grow(head_bytes)
        try:
            url = httptools.parse_url(self._url)
            path = url.path or b"/"
        except httptools.HttpParserInvalidURLError:
            path, url = b"/", None
        text = path.decode("latin-1")
        if "%" in text:
            from urllib.parse import unquote

            text = unquote(text)
        query = (url.query if url is not None else b"") or b""
        self._headers, self._url, self._fields = {}, b"", 0
        self._release_head()

        async def read() -> tuple[bytes | bytearray, bool]:
            return await self._read_body(exchange)

        method = self._parser.get_method().decode("latin-1")
        limits, held = self.server.limits, exchange.reservation
        request = Request(method, text, query, headers, read, limits, held, self._client)
        exchange.request = request
        if self.server.shed_load is not None:
            exchange.refusal = self.server.shed_load(request)
        self._coming = exchange
        self._waiting.append(exchange)
        self._head_bytes = self._untold_bytes = 0
        self._asked = True
        self._body_left = read_count(headers.get("content-length", "")) or 0
        if self._writable is None:  # else the time to read the response goes on
            self.deadline = time.monotonic() + limits.body_s
        exchange.expects = not is_old and headers.get("expect", "").lower() == "100-continue"

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._untold_bytes = 0
        self._body_left = max(0, self._body_left - len(body))
        exchange = self._coming
        if exchange is None or exchange.gone or exchange.refusal is not None:
            return
        exchange.add(body)
        if len(exchange.part) > PAUSE_BYTES:
            self._pause()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._untold_bytes = 0
        exchange = self._coming
        self._coming = None
        self._body_left = self._fields = 0
        self._headers, self._head_bytes = {}, 0  # fields after the body say nothing here
        if self._writable is None:  # else the client has to read first
            self.deadline = float("inf")
        if exchange is not None:
            exchange.complete = True
            exchange.wake()

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                # The parser is done with a request that asks for another protocol: once more, so
                # that it is answered in this one.
                data, self._plain_head = self._plain_head + data[upgrade.args[0] :], b""

    def _write_plain_head(self) -> bytes:
        """The head that came, without the wish for another protocol."""
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if method == b"CONNECT":
            raise ValueError("this is no proxy")
        headers, url = self._headers, self._url
        self._headers, self._url, self._head_bytes, self._fields = {}, b"", 0, 0
        lines = [f"{name}: {text}\r\n" for name, text in headers.items() if name != "upgrade"]
        first = b"%b %b HTTP/%b\r\n" % (method, url, version.encode())
        return first + "".join(lines).encode("latin-1") + b"\r\n"

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.server.limits.header_bytes:
            raise head_too_large(self.server.limits.header_bytes)

    def _reserve_head(self) -> None:
        """Counts what has come of a head that is not whole, and Python's objects for it."""
        size = 2 * self._head_bytes + FIELD_BYTES * self._fields if self._coming is None else 0
        growth = size - self._head_reserved
        if growth > 0:
            self.server.budget.reserve(growth, size)
            # Not `= size`: to make room, this connection may have been evicted.
            self._head_reserved += growth

    def _release_head(self) -> None:
        self.server.budget.release(self._head_reserved)
        self._head_reserved = 0

    # The way of a request.

    def _start_next(self) -> None:
        while self._waiting and not self._closing:
            exchange = self._waiting[0]
            refusal = exchange.refusal
            if refusal is None or self._writable is not None:
                break
            if not exchange.complete and exchange.is_small:
                return  # the rest of its body is on its way
            self._waiting.popleft()
            self._write_whole(exchange, refusal)
            exchange.finish()
            self._go_on(exchange)
        if self._waiting and not self._closing:
            self._current = self._waiting.popleft()
            self._task = self.loop.create_task(self._answer(self._current))

    async def _read_body(self, exchange: Exchange) -> tuple[bytes | bytearray, bool]:
        while not exchange.part and not exchange.complete:
            if exchange.gone:
                raise ClientGone
            self._resume()
            self._ask_for_body(exchange)
            exchange.waiter = self.loop.create_future()
            await exchange.waiter
            exchange.waiter = None
        part = exchange.take()
        self._resume()
        return part, not exchange.complete

    def _ask_for_body(self, exchange: Exchange) -> None:
        if exchange.expects and self.transport is not None:
            exchange.expects = False
            self.transport.write(CONTINUE)

    async def _answer(self, exchange: Exchange) -> None:
        exchange.started = True
        request, response = exchange.request, exchange.refusal
        try:
            if response is None:
                assert request is not None
                response = await self.server.handler(request)
            await self._write(exchange, response)
        except (ClientGone, asyncio.CancelledError):
            if not self._closing:  # else it was told why
                self.abort()
            return
        except Exception:
            log.exception("failed: %s", request and f"{request.method} {request.path}")
            self.abort()
            return
        finally:
            exchange.finish()
        self._current = None
        self._go_on(exchange)
        self._start_next()

    def _cancel_task(self) -> None:
        """Cancels the handler, and releases its request if the task has not started yet.

        A task that is cancelled before it starts never reaches its `finally`.
        """
        if self._task is not None:
            self._task.cancel()
        if self._current is not None and not self._current.started:
            self._current.finish()

    def _go_on(self, exchange: Exchange) -> None:
        """After an answer: the connection ends, or waits for the next request."""
        if self._closing:
            return
        over = self._ended and not self._waiting
        if not exchange.complete:
            self._linger()
        elif over or not exchange.keep_alive or self.server.stopping:
            self._close()
        else:
            self._resume()
            if self._coming is None and not self._waiting:
                self.deadline = time.monotonic() + self.server.limits.idle_s

    def _write_whole(self, exchange: Exchange, response: Response) -> None:
        """Writes an answer whose body is there."""
        if self.transport is None or self._closing:
            return
        asked = exchange.request
        body = b"" if asked is not None and asked.method == "HEAD" else response.body
        self.transport.write(self._write_head(response, exchange) + body)

    async def _write(self, exchange: Exchange, response: Response) -> None:
        exchange.begun = True
        if response.parts is None or (exchange.request and exchange.request.method == "HEAD"):
            self._write_whole(exchange, response)
        elif self.transport is not None and not self._closing:
            if exchange.is_old:
                exchange.keep_alive = False  # the end of the connection is that of the answer
            exchange.reservation.force(response.held_bytes)
            self._ask_for_body(exchange)  # it is read as the answer is written
            self.transport.write(self._write_head(response, exchange))
            async for part in response.parts:
                if self._closing:
                    raise ClientGone
                if part:
                    chunk = part if exchange.is_old else b"%x\r\n%b\r\n" % (len(part), part)
                    self.transport.write(chunk)
                await self._until_writable()
            if not exchange.is_old:
                self.transport.write(b"0\r\n\r\n")
        await self._until_writable()

    def _keeps(self, exchange: Exchange) -> bool:
        return exchange.keep_alive and exchange.complete and not self.server.stopping

    def _write_head(self, response: Response, exchange: Exchange) -> bytes:
        lines = [f"HTTP/1.1 {response.status} {PHRASES.get(response.status, '')}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in response.list_headers()]
        if not self._keeps(exchange):
            lines.append("connection: close\r\n")
        elif exchange.is_old:
            lines.append("connection: keep-alive\r\n")
        if response.parts is not None and not exchange.is_old:
            lines.append("transfer-encoding: chunked\r\n")
        return "".join(lines).encode("latin-1") + self.server.date_line() + b"\r\n"

    async def _until_writable(self) -> None:
        """Waits for a client that reads slowly; the time for a body begins anew."""
        body_s = self.server.limits.body_s
        if self._writable is not None:
            self.deadline = time.monotonic() + body_s
            await self._drain(self._writable)
        self.deadline = float("inf") if self._coming is None else time.monotonic() + body_s

    async def _drain(self, writable: asyncio.Future[None]) -> None:
        """Waits until the client has read; what it has not is counted as long."""
        assert self.transport is not None
        with Reservation(self.server.budget) as unsent:
            unsent.force(self.transport.get_write_buffer_size())
            await asyncio.shield(writable)

    # Ends.

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being received or answered, nor was begun."""
        return self._current is None and self._coming is None and not self._waiting

    @property
    def evictable_bytes(self) -> int:
        """What would be freed if its unfinished requests were dropped; not those that run."""
        size = self._head_reserved + sum(each.reservation.size for each in self._waiting)
        if self._coming is not None and self._coming is self._current:
            size += self._coming.reservation.size
        if self._writable is not None and self.transport is not None:
            size += self.transport.get_write_buffer_size()
            if self._current is not None and self._current is not self._coming:
                size += self._current.reservation.size
        return size

    @property
    def eviction_rank(self) -> tuple[int, float]:
        """Which connection makes room for a new one: the lowest; those that work, never."""
        if self._closing:
            rank = 0
        elif not self._asked:
            rank = 1
        else:
            rank = 2 if self.is_idle else 3
        return rank, self.active_at

    def evict(self) -> None:
        """Drops its unfinished requests, to make room for another."""
        if self._current is None or (self._current is self._coming and not self._current.begun):
            self._refuse(respond_error(too_many_bytes()))
        else:
            self.abort()  # its answer is on the way, or that of a request before
        self._drop()

    def _drop(self) -> None:
        """Releases what nothing is computed from."""
        self._unparsed = b""
        self._release_head()
        for exchange in (self._coming, *self._waiting):
            if exchange is not None:
                exchange.finish()

    def _refuse_bytes(self, error: ModelpadError) -> None:
        """There is no room for what comes now."""
        response = respond_error(error)
        forget_frames(error)
        coming = self._coming
        self._refuse_in_turn(response)
        if coming is not None:
            coming.finish()

    def stop_when_idle(self) -> None:
        """Closes unless a request is being received or answered, or is about to come."""
        idle = self.is_idle
        new = not self._asked and time.monotonic() < self.begun + FIRST_S
        if idle and not self._head_bytes and not new:
            self._close()

    def time_out(self) -> None:
        """The client was too slow, or silent for too long."""
        if self._closing:
            self.abort()
        elif self._current is None and self._coming is None and not self._head_bytes:
            self._close()  # an idle connection: no need for words
        elif self._current is None or (self._coming is self._current and not self._current.begun):
            limits = self.server.limits
            self._refuse(
                respond_problem(
                    HTTPStatus.REQUEST_TIMEOUT,
                    "The request took too long to arrive.",
                    f"A head may take {limits.header_s:g} s, a body {limits.body_s:g} s.",
                )
            )
        else:
            self.abort()

    def abort(self) -> None:
        """Closes at once."""
        self._closing = True
        if self.transport is not None:
            self.transport.abort()
        elif self.opening is not None:
            self.opening.cancel()

    def _refuse_in_turn(self, response: Response) -> None:
        """Says why and closes, after the answers to what came before."""
        if self._coming is not None and self._coming is self._current:
            if self._current.begun:
                self.abort()
            else:
                self._refuse(response)
            return
        self._broken = True
        self.deadline = float("inf")
        if self._coming is None:
            self._waiting.append(self._make_last())
        self._waiting[-1].refusal = response

    def _refuse(self, response: Response) -> None:
        """Says why, and closes; what was being answered is of no use any more."""
        self._cancel_task()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(self._write_head(response, self._make_last()) + response.body)
        self._linger()

    def _make_last(self) -> Exchange:
        return Exchange(self.server.budget, keep_alive=False, is_old=False)

    def _linger(self) -> None:
        """Closes after an answer that came before the request was whole.

        Closing at once would reset the connection, and the client would never read the answer.
        """
        self._closing = True
        transport = self.transport
        if transport is None:
            return
        self.server.connections.discard(self)
        self.server.lingering.add(self)
        with contextlib.suppress(OSError, NotImplementedError):
            transport.write_eof()
        self._resume()
        self.loop.call_later(LINGER_S, transport.abort)

    def _close(self) -> None:
        """Closes when the client has read what was written, for which it has the time of a body."""
        self._closing = True
        self.deadline = time.monotonic() + self.server.limits.body_s
        if self.transport is not None:
            self.transport.close()
        elif self.opening is not None:
            self.opening.cancel()

    def _pause(self) -> None:
        if not self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if not self._paused or self.transport is None or self.transport.is_closing():
            return
        if not self._closing and not self._may_read:
            return
        if self._unparsed and not self._closing:
            if not self._parsing:
                self._parsing = True
                self.loop.call_soon(self._parse_rest)
            return
        self._paused = False
        self.transport.resume_reading()

    @property
    def _may_read(self) -> bool:
        unread = 0 if self._coming is None else len(self._coming.part)
        return len(self._waiting) <= MAX_PIPELINED and unread <= PAUSE_BYTES

    def _parse_rest(self) -> None:
        """Goes on with what was read before the client was told to wait."""
        data, self._unparsed = self._unparsed, b""
        if not self._closing and not self._broken:
            self._parse(memoryview(data))
        self._parsing = False
        if not self._unparsed:
            self._resume()
