"""Requests and responses, independent of the HTTP server that carries them.

A web framework would add 70 ms to the cold start and ten megabytes of memory. `parser.py` makes
requests from bytes, and `Request.from_asgi` from ASGI, so that any ASGI server can host the app.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from modelpad.errors import InvalidInput, TooLarge
from modelpad.foreign_json import Json
from modelpad.server.budget import Reservation
from modelpad.server.http.decoding import PIECE_BYTES, decompress, estimate_json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = "application/json"
MAX_DIGITS = 20


class ServerLimits(msgspec.Struct, frozen=True):
    """What clients may use; sizes in bytes, times in seconds.

    A request's head must arrive within `header_s` and its body within `body_s`; a connection is
    closed after `idle_s` without a request. `inflight_bytes` is the limit for all requests of a
    worker together.
    """

    body_bytes: int = 32 * 1024 * 1024
    inflight_bytes: int = 256 * 1024 * 1024
    header_bytes: int = 64 * 1024
    connections: int = 1000
    header_s: float = 10.0
    body_s: float = 60.0
    idle_s: float = 75.0


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


# Reads the next part of a body, already reserved, and whether there is more. Raises `ClientGone`.
ReadBody = Callable[[], Awaitable[tuple[bytes | bytearray, bool]]]


class Request:
    """One HTTP request; its body is read at most once, and never past the limit.

    What the request holds in memory is counted in its `reservation`: `read` reserves each part that
    it returns, and whoever decodes a body reserves what the decoded values need. `match` is for the
    app: what it finds at the head of a request is kept there for the handler.
    """

    __slots__ = (
        "_limits",
        "_read",
        "client",
        "headers",
        "match",
        "method",
        "owner",
        "path",
        "query_string",
        "reservation",
        "stops_with_client",
    )

    def __init__(
        self,
        method: str,
        path: str,
        query_string: bytes,
        headers: Mapping[str, str],
        read: ReadBody,
        limits: ServerLimits,
        reservation: Reservation,
        client: str = "",
    ) -> None:
        """`client` is the address of the peer; "" if unknown."""
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.reservation = reservation
        self._read = read
        self._limits = limits
        self.client = client
        self.match: object | None = None  # what the app found at the request's head
        self.owner = ""  # of the API key, once it has been checked
        self.stops_with_client = False
        """Whether to drop the request as soon as the client closes its side of the connection.

        Most requests are quick, so a client that has sent all may close its side and still read
        the response. A handler that works for long sets this.
        """

    @classmethod
    def from_asgi(
        cls, scope: Scope, receive: Receive, limits: ServerLimits, reservation: Reservation
    ) -> Request:
        """Makes a request from an ASGI scope."""

        async def read() -> tuple[bytes, bool]:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            reservation.grow(len(part))
            return part, message.get("more_body", False)

        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        query = scope.get("query_string", b"")
        path, client = scope["path"], (scope.get("client") or ("",))[0]
        return cls(scope["method"], path, query, headers, read, limits, reservation, client)

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case; empty if none was sent."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def query(self) -> dict[str, str]:
        """The last value of each query parameter."""
        parsed = parse_qs(self.query_string.decode("latin-1"), keep_blank_values=True)
        return {name: values[-1] for name, values in parsed.items()}

    async def body(self) -> bytes:
        """Reads the whole body, and decompresses gzip and deflate.

        Raises:
            TooLarge: the body is longer than the limit; the rest is not read.
            Overloaded: too many bytes are in flight.
            InvalidInput: the body does not match its Content-Encoding.
        """
        declared = read_count(self.headers.get("content-length", ""))
        if declared is not None and declared > self._limits.body_bytes:
            raise self._too_large(declared)
        part, more = await self._read()
        if more:
            # One growing array: a list of parts would cost more than the bytes if parts are tiny.
            whole = bytearray(part)
            while more and len(whole) <= self._limits.body_bytes:
                part, more = await self._read()
                whole += part
            part = bytes(whole)
            del whole
        if len(part) > self._limits.body_bytes:
            raise self._too_large(len(part))
        encoding = self.headers.get("content-encoding", "").strip().lower()
        part = bytes(part)
        return part if encoding in ("", "identity") else await self._decompress(part, encoding)

    def parse_json(self, body: bytes | memoryview) -> Json:
        """Decodes a JSON body of this request. Raises as `parse_json` and `Reservation.grow`."""
        self.reservation.grow(estimate_json(body))
        return parse_json(body)

    async def read_object(
        self, hint: str, problem: str = "The request must be a JSON object."
    ) -> dict[str, Json]:
        """Reads a body that is a JSON object.

        Raises as `body` and `parse_json`, and `InvalidInput` with `problem` and `hint` for JSON of
        another type.
        """
        record = self.parse_json(await self.body())
        if not isinstance(record, dict):
            raise InvalidInput(problem, hint=hint, expected="an object", got=type(record).__name__)
        return record

    async def lines(self, max_bytes: int, *, keep_empty: bool = False) -> AsyncIterator[bytes]:
        """Yields the body line by line, in constant memory; skips empty lines by default.

        Raises:
            TooLarge: a line is longer than `max_bytes`.
            Overloaded: too many bytes are in flight.
        """
        rest, more = bytearray(), True
        while more:
            part, more = await self._read()
            searched = len(rest)
            rest += part
            end = rest.rfind(b"\n", searched) + 1
            whole, begin = bytes(rest[:end]), 0
            del rest[:end]  # moves a pointer, not the rest
            while begin < end:
                stop = whole.index(b"\n", begin)
                line, begin = whole[begin:stop], stop + 1
                if keep_empty or line.strip():
                    yield line
            self.reservation.shrink(end)
            if len(rest) > max_bytes:
                raise TooLarge(
                    f"A line has more than {max_bytes:,} bytes.",
                    hint="Send one item per line.",
                    limit=max_bytes,
                    got=len(rest),
                )
        if rest.strip():
            yield bytes(rest)

    async def _decompress(self, body: bytes, encoding: str) -> bytes:
        plain = bytearray()
        for piece in decompress(body, encoding):
            self.reservation.grow(len(piece))
            plain += piece
            if len(plain) > self._limits.body_bytes:
                raise self._too_large(len(plain))
            if len(plain) > PIECE_BYTES:
                await asyncio.sleep(0)  # let other requests run
        self.reservation.shrink(len(body))
        return bytes(plain)

    def _too_large(self, size: int) -> TooLarge:
        limit = self._limits.body_bytes
        return TooLarge(
            f"The body is larger than the limit of {limit:,} bytes.",
            hint="Send a smaller body, or raise the limit with --max-body-mb.",
            limit=limit,
            got=size,
        )


class Response(msgspec.Struct, frozen=True):
    """A response: a whole `body`, or its `parts` as they are produced.

    `outputs` are the arrays that a response in parts is made from, if it is made from arrays.
    """

    body: bytes = b""
    content_type: str = JSON
    status: int = 200
    headers: Mapping[str, str] = {}
    parts: AsyncIterator[bytes] | None = None
    outputs: Mapping[str, object] | None = None

    @property
    def held_bytes(self) -> int:
        """Bytes kept in memory until the last part is sent."""
        return sum(getattr(array, "nbytes", 0) for array in (self.outputs or {}).values())

    def list_headers(self) -> list[tuple[str, str]]:
        """All header fields, the length included if it is known."""
        listed = [("content-type", self.content_type), ("x-content-type-options", "nosniff")]
        if self.parts is None:
            listed.append(("content-length", str(len(self.body))))
        return [*listed, *self.headers.items()]

    async def send(self, send: Send, *, head_only: bool = False) -> None:
        """Sends the response over ASGI, with `head_only` without its body."""
        listed = self.list_headers()
        raw = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in listed]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        if self.parts is not None and not head_only:
            async for part in self.parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"" if head_only else self.body})


def read_count(text: str) -> int | None:
    """The number in a header field or path; None if it is not one, or has too many digits."""
    return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else None


def respond_json(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON response."""
    return Response(encode_json(value), JSON, status, headers or {})


def encode_json(value: object) -> bytes:
    """Encodes JSON in UTF-8."""
    return msgspec.json.encode(value)


def parse_json(body: bytes | memoryview) -> Json:
    """Decodes a JSON body.

    Raises:
        InvalidInput: it is not JSON, or contains NaN or infinity, which is not valid JSON.
    """
    try:
        decoded: Json = msgspec.json.decode(body)
        return decoded
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        word = next((w for w in ("NaN", "Infinity") if w.encode() in bytes(body)), None)
        if word:
            raise InvalidInput(
                f"The body contains {word}, which is not valid JSON.",
                hint="Send finite numbers.",
                expected="JSON",
                got=word,
            ) from error
        raise InvalidInput(
            f"The body is not JSON: {str(error) or 'it is nested too deeply'}.",
            hint="Send JSON in UTF-8, or set content-type to the type of the body.",
            expected="JSON",
            got=repr(bytes(body[:40])),
        ) from error
