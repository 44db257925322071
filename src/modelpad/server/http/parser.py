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
        "_headers",
        "_in_body",
        "_parser",
        "_plain_head",
        "_read",
        "_service",
        "_silent_bytes",
        "_sink",
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

    def feed(self, data: bytes) -> None:
        """Parses `data`.

        Raises:
            RequestRejected: it is not HTTP, or its head is not allowed.
            ModelpadError: there is no room for it in the budget.
        """
        limit = self._service.limits.header_bytes
        self._silent_bytes += len(data)
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

    def release_head(self) -> None:
        """Releases what is reserved for a head that is not complete."""
        self._service.budget.release(self.reserved)
        self.reserved = 0

    def close(self) -> None:
        """Lets go of everything, so that the connection is freed without garbage collection."""
        self.release_head()
        self._headers, self._url = {}, b""
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
        is_old = parser.get_http_version() == "1.0"
        headers = self._headers
        check_head(headers, is_old=is_old)
        budget = self._service.budget
        exchange = Exchange(budget, keep_alive=parser.should_keep_alive(), is_old=is_old)
        exchange.reservation.grow(HEAD_BYTES + FIELD_BYTES * len(headers) + 2 * self.head_bytes)
        exchange.request = self._make_request(exchange)
        exchange.expects = not is_old and headers.get("expect", "").lower() == "100-continue"
        self._headers, self._url, self._fields = {}, b"", 0
        self.head_bytes = self._silent_bytes = 0
        self.release_head()
        self._in_body = True
        self.body_left = read_count(headers.get("content-length", "")) or 0
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

    def _make_request(self, exchange: Exchange) -> Request:
        try:
            url = httptools.parse_url(self._url)
            path, query = (url.path or b"/").decode("latin-1"), url.query or b""
        except httptools.HttpParserInvalidURLError:
            path, query = "/", b""
        if "%" in path:
            path = unquote(path)
        return Request(
            self._parser.get_method().decode("latin-1"),
            path,
            query,
            self._headers,
            partial(self._read, exchange),
            self._service.limits,
            exchange.reservation,
            self.client,
        )

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
