"""From bytes to requests: httptools parses, and this module keeps heads within their limits.

It uses no sockets and no clock, and passes what it parses to a `RequestSink`, in order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Protocol
from urllib.parse import unquote

import httptools

from modelpad.errors import ModelpadError
from modelpad.server.http.exchange import Exchange
from modelpad.server.http.heads import RequestRejected, check_fields, check_head, head_too_large
from modelpad.server.http.known_head import Head, find_head
from modelpad.server.http.messages import Request, read_count
from modelpad.server.http.service import Service

# What CPython needs for a request's head beside its text: for its objects, and for each field.
HEAD_BYTES = 2048
FIELD_BYTES = 200

# Reads the next part of an exchange's body; returns whether there is more.
ReadExchange = Callable[[Exchange], Awaitable[tuple[bytes | bytearray, bool]]]


class RequestSink(Protocol):
    """Receives requests as they are parsed."""

    def begin_request(self, exchange: Exchange) -> None:
        """The head of a request is complete."""

    def add_body(self, body: bytes) -> None:
        """More of its body was received."""

    def end_request(self) -> None:
        """The request is complete."""


class RequestParser:
    """Parses what one client sends."""

    __slots__ = (
        "_fields",
        "_head",
        "_headers",
        "_heads",
        "_in_body",
        "_left",
        "_parser",
        "_plain_head",
        "_read",
        "_service",
        "_silent_bytes",
        "_sink",
        "_text",
        "_url",
        "body_left",
        "client",
        "head_bytes",
        "reserved",
    )

    def __init__(self, service: Service, sink: RequestSink, read: ReadExchange) -> None:
        self.client = ""  # the address of the peer
        self.head_bytes = 0  # received of a head that is not complete
        self.reserved = 0  # in the budget, for such a head
        self.body_left = 0  # to come of a body whose length was declared
        self._service = service
        self._sink = sink
        self._read = read
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._fields = 0  # of the current head; a repeated field counts each time
        self._in_body = False
        self._silent_bytes = 0  # received since httptools last reported a head or a body
        self._plain_head = b""
        self._head: Head | None = None  # the last one
        self._text = b""  # of the last head, if it may be repeated
        self._heads = 0  # completed by the data being parsed
        self._left = 0  # of the current request: 0 between requests, -1 if unknown

    @property
    def expected_bytes(self) -> int:
        """What probably arrives together: the rest of a body, or a request like the last one."""
        if self.body_left or not self._text or self._head is None:
            return self.body_left
        return len(self._text) + (self._head.body_bytes or 0)

    def feed(self, data: bytes) -> None:
        """Parses `data`.

        Raises:
            RequestRejected: it is not HTTP, or its head is not allowed.
            ModelpadError: there is no room for it in the budget.
        """
        left, self._left = self._left, -1  # in case it fails
        if left == 0 and self._text:
            data = self._repeat(self._text, data)
            if not data:
                self._left = 0
                return
        limit = self._service.limits.header_bytes
        self._silent_bytes += len(data)
        self._heads = 0
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, RequestRejected | ModelpadError):
                raise cause from None
            if max(self.head_bytes, self._silent_bytes) > limit:
                raise head_too_large(limit) from None
            raise RequestRejected(
                HTTPStatus.BAD_REQUEST,
                f"This is not HTTP: {error}.",
                "Send HTTP/1.1; https:// only where the server has a certificate.",
            ) from None
        if self._silent_bytes > limit:
            raise head_too_large(limit)  # httptools keeps a line until it is complete
        self._reserve_head()
        self._left = self._learn(data) if left == 0 else max(-1, left - len(data))

    def release_head(self) -> None:
        """Releases what is reserved for a head that is not complete."""
        self._service.budget.release(self.reserved)
        self.reserved = 0

    def close(self) -> None:
        """Lets go of everything, so that the connection is freed without garbage collection."""
        self.release_head()
        self._headers, self._url = {}, b""
        self._head = None
        del self._parser, self._sink, self._read

    # Called by httptools.

    def on_url(self, url: bytes) -> None:
        """Adds to the request target."""
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Adds one field; repeated fields are joined with commas (RFC 9110, 5.3)."""
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._count_head(len(name) + len(value))
        self._fields += 1
        headers = self._headers
        check_fields(headers, key, self._fields)
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        """Begins an exchange."""
        parser = self._parser
        if parser.should_upgrade():
            self._plain_head = self._write_plain_head()
            return
        head = self._head = self._read_head()
        exchange = self._begin(head)
        self._headers, self._url, self._fields = {}, b"", 0
        self.head_bytes = self._silent_bytes = 0
        self.release_head()
        self._in_body = True
        self._heads += 1
        self.body_left = head.body_bytes or 0
        self._sink.begin_request(exchange)

    def on_body(self, body: bytes) -> None:
        """Adds to the body."""
        self._silent_bytes = 0
        self.body_left = max(0, self.body_left - len(body))
        self._sink.add_body(body)

    def on_message_complete(self) -> None:
        """Ends the request; fields after a chunked body (trailers) are ignored."""
        self._silent_bytes = self.body_left = self._fields = self.head_bytes = 0
        self._headers = {}
        self._in_body = False
        self._sink.end_request()

    def _read_head(self) -> Head:
        """The head that is complete. Raises `RequestRejected` if it is not allowed."""
        parser, headers = self._parser, self._headers
        is_old = parser.get_http_version() == "1.0"
        check_head(headers, is_old=is_old)
        try:
            url = httptools.parse_url(self._url)
            path, query = (url.path or b"/").decode("latin-1"), url.query or b""
        except httptools.HttpParserInvalidURLError:
            path, query = "/", b""
        return Head(
            parser.get_method().decode("latin-1"),
            unquote(path) if "%" in path else path,
            query,
            headers,
            self._fields,
            HEAD_BYTES + FIELD_BYTES * len(headers) + 2 * self.head_bytes,
            parser.should_keep_alive(),
            is_old,
            not is_old and headers.get("expect", "").lower() == "100-continue",
            None
            if "transfer-encoding" in headers
            else read_count(headers.get("content-length", "0")),
        )

    def _begin(self, head: Head) -> Exchange:
        """An exchange for a request with this head. Raises as `Reservation.grow`."""
        exchange = Exchange(self._service.budget, keep_alive=head.keep_alive, is_old=head.is_old)
        exchange.reservation.grow(head.cost)
        exchange.expects = head.expects
        exchange.request = Request(
            head.method,
            head.path,
            head.query,
            head.headers,
            partial(self._read, exchange),
            self._service.limits,
            exchange.reservation,
            self.client,
        )
        return exchange

    def _repeat(self, text: bytes, data: bytes) -> bytes:
        """Passes on the requests in `data` that begin with the last head; returns the rest."""
        head = self._head
        assert head is not None
        size = len(text) + (head.body_bytes or 0)
        while len(data) >= size and data.startswith(text):
            self._sink.begin_request(self._begin(head))
            if head.body_bytes:
                self._sink.add_body(data[len(text) : size])
            self._sink.end_request()
            data = data[size:]
        return data

    def _learn(self, data: bytes) -> int:
        """Keeps the head that `data` begins with, if it is the only one and may be repeated.

        Returns how much of its request is still to come; -1 if that is unknown.
        """
        head, self._text = self._head, b""
        if self._heads != 1 or head is None or not head.can_repeat:
            return -1
        text = find_head(data, head.fields)
        left = len(text) + (head.body_bytes or 0) - len(data)
        if not text or left < 0 or self._in_body != (left > 0):
            return -1
        self._text = text
        return left

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                # httptools stops at a request for another protocol. Parse it again without that
                # wish, to respond in HTTP/1.1.
                data, self._plain_head = self._plain_head + data[upgrade.args[0] :], b""

    def _write_plain_head(self) -> bytes:
        """The current head without its Upgrade field."""
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if method == b"CONNECT":
            raise ValueError("CONNECT is for proxies")
        headers, url = self._headers, self._url
        self._headers, self._url, self.head_bytes, self._fields = {}, b"", 0, 0
        lines = [f"{name}: {text}\r\n" for name, text in headers.items() if name != "upgrade"]
        first = b"%b %b HTTP/%b\r\n" % (method, url, version.encode())
        return first + "".join(lines).encode("latin-1") + b"\r\n"

    def _count_head(self, size: int) -> None:
        self.head_bytes += size
        if self.head_bytes > self._service.limits.header_bytes:
            raise head_too_large(self._service.limits.header_bytes)

    def _reserve_head(self) -> None:
        """Reserves room for what was received of a head that is not complete."""
        if self._in_body:
            return
        size = 2 * self.head_bytes + FIELD_BYTES * self._fields
        growth = size - self.reserved
        if growth > 0:
            self._service.budget.reserve(growth, size)
            # Not `= size`: to make room, this connection itself may have been evicted.
            self.reserved += growth
