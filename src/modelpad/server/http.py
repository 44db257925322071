"""Requests and responses, as small as this server needs them; they know no HTTP server.

A framework would add 70 ms to the cold start and ten megabytes. `connection.py` makes them from a
socket; the app is a plain ASGI callable too, so that any ASGI server or framework can hold it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec

from modelpad.errors import InvalidInput, TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = "application/json"
MOST_DIGITS = 20


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What one client may cost; sizes in bytes, times in seconds.

    `header_s` is the time for a request's head, `body_s` for its body (slow clients are cut off),
    `idle_s` how long a connection may say nothing between requests. `inflight_bytes` is for all
    requests of a worker together.
    """

    body_bytes: int = 32 * 1024 * 1024
    inflight_bytes: int = 160 * 1024 * 1024
    header_bytes: int = 64 * 1024
    connections: int = 1000
    header_s: float = 10.0
    body_s: float = 60.0
    idle_s: float = 75.0


class ClientGone(Exception):
    """The client closed the connection before its request was whole."""


# The next part of a body and whether more comes. Raises `ClientGone`.
ReadBody = Callable[[], Awaitable[tuple[bytes, bool]]]


class Request:
    """One HTTP request; its body is read at most once, and never past the limit."""

    __slots__ = ("_limits", "_read", "headers", "method", "path", "query_string")

    def __init__(
        self,
        method: str,
        path: str,
        query_string: bytes,
        headers: Mapping[str, str],
        read: ReadBody,
        limits: ServerLimits,
    ) -> None:
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self._read = read
        self._limits = limits

    @classmethod
    def from_asgi(cls, scope: Scope, receive: Receive, limits: ServerLimits) -> Request:
        """The request of an ASGI server."""

        async def read() -> tuple[bytes, bool]:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            return message.get("body", b""), message.get("more_body", False)

        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        query = scope.get("query_string", b"")
        return cls(scope["method"], scope["path"], query, headers, read, limits)

    @property
    def content_type(self) -> str:
        """The media type without its parameters, lower case; empty when none was sent."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def query(self) -> dict[str, str]:
        """The last value of each query parameter."""
        parsed = parse_qs(self.query_string.decode("latin-1"), keep_blank_values=True)
        return {name: values[-1] for name, values in parsed.items()}

    async def body(self) -> bytes:
        """The whole body, unpacked where it came as gzip or deflate.

        Raises:
            TooLarge: it is longer than the limit; the rest is not read.
            InvalidInput: it is not packed as its header says.
        """
        declared = read_count(self.headers.get("content-length", ""))
        if declared is not None and declared > self._limits.body_bytes:
            raise self._too_large(declared)
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            part, more = await self._read()
            size += len(part)
            if size > self._limits.body_bytes:
                raise self._too_large(size)
            parts.append(part)
        body = b"".join(parts)
        packed = self.headers.get("content-encoding", "")
        return self._unpack(body, packed.strip().lower()) if packed else body

    async def keep_body(self) -> Request:
        """The same request with its body read, so that it can be read again."""
        body = await self.body()

        async def read() -> tuple[bytes, bool]:
            return body, False

        headers = {k: v for k, v in self.headers.items() if k != "content-encoding"}
        return Request(self.method, self.path, self.query_string, headers, read, self._limits)

    async def lines(self, longest: int) -> AsyncIterator[bytes]:
        """The body line by line, in constant memory; empty lines are left out.

        Raises:
            TooLarge: a line is longer than `longest` bytes.
        """
        rest, more = b"", True
        while more:
            part, more = await self._read()
            *whole, rest = (rest + part).split(b"\n")
            for line in whole:
                if line.strip():
                    yield line
            if len(rest) > longest:
                raise TooLarge(
                    f"A line has more than {longest:,} bytes.",
                    hint="Send one item a line.",
                    limit=longest,
                    got=len(rest),
                )
        if rest.strip():
            yield rest

    def _unpack(self, body: bytes, packed: str) -> bytes:
        windows = {"gzip": 31, "x-gzip": 31, "deflate": 15}
        if packed == "identity":
            return body
        if packed not in windows:
            raise InvalidInput(
                f"A body packed as {packed!r} is not understood.",
                hint="Send it plain, or as gzip or deflate.",
                expected="gzip or deflate",
                got=packed,
            )
        import zlib

        most = self._limits.body_bytes
        try:
            unpacker = zlib.decompressobj(windows[packed])
            plain = unpacker.decompress(body, most + 1)
            if len(plain) <= most and not unpacker.eof:
                raise zlib.error("it is cut short")
            if unpacker.unused_data:
                raise zlib.error("there is more after its end")
        except zlib.error as error:
            raise InvalidInput(
                f"The body is no {packed}: {error}.", hint="Check content-encoding.", got=packed
            ) from error
        if len(plain) > most:
            raise self._too_large(len(plain))
        return plain

    def _too_large(self, size: int) -> TooLarge:
        limit = self._limits.body_bytes
        return TooLarge(
            f"The body has {size:,} bytes or more; at most {limit:,} are taken.",
            hint="Send something smaller, or raise the limit with --max-body-mb.",
            limit=limit,
            got=size,
        )


@dataclass(frozen=True, slots=True)
class Response:
    """One answer: a whole `body`, or `parts` of one as they come.

    `outputs` are what an answer in parts says, where that is known before it is written.
    """

    body: bytes = b""
    content_type: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: AsyncIterator[bytes] | None = None
    outputs: Mapping[str, Any] | None = None

    def list_headers(self) -> list[tuple[str, str]]:
        """All header fields; the length too, where it is known."""
        listed = [("content-type", self.content_type), ("x-content-type-options", "nosniff")]
        if self.parts is None:
            listed.append(("content-length", str(len(self.body))))
        return [*listed, *self.headers.items()]

    async def send(self, send: Send, *, head_only: bool = False) -> None:
        """Sends it over ASGI; without its body to a HEAD request."""
        listed = self.list_headers()
        raw = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in listed]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        if self.parts is not None and not head_only:
            async for part in self.parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"" if head_only else self.body})


def read_count(text: str) -> int | None:
    """The whole number in a field or a path; None for anything else, or far too many digits."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None


def respond_json(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of JSON in UTF-8."""
    return Response(encode_json(value), JSON, status, headers or {})


def encode_json(value: object) -> bytes:
    """JSON in UTF-8."""
    return msgspec.json.encode(value)


def parse_json(body: bytes) -> Any:
    """The value in a JSON body.

    Raises:
        InvalidInput: it is not JSON, or holds NaN or infinity, which JSON does not have.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        word = next((w for w in ("NaN", "Infinity") if w.encode() in body), None)
        if word:
            raise InvalidInput(
                f"The body holds {word}, which JSON does not have.",
                hint="Send finite numbers.",
                expected="JSON",
                got=word,
            ) from error
        raise InvalidInput(
            f"The body is not JSON: {str(error) or 'it is nested too deep'}.",
            hint="Send JSON in UTF-8, or set content-type to what the body is.",
            expected="JSON",
            got=repr(body[:40]),
        ) from error
