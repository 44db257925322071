"""Requests and responses over ASGI, as small as this server needs them.

A framework would add 70 ms to the cold start and ten megabytes; the app stays a plain ASGI
callable, so that any ASGI server or framework can hold it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from modelpad.errors import InvalidInput, TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What one request may cost: `body_bytes` of body."""

    body_bytes: int = 32 * 1024 * 1024


class ClientGone(Exception):
    """The client closed the connection before its request was whole."""


class Request:
    """One HTTP request; its body is read at most once, and never past the limit."""

    def __init__(self, scope: Scope, receive: Receive, limits: ServerLimits) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query_string: bytes = scope.get("query_string", b"")
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self._receive = receive
        self._limits = limits

    @property
    def content_type(self) -> str:
        """The media type without its parameters, lower case; empty when none was sent."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def query(self) -> dict[str, str]:
        """The last value of each query parameter."""
        parsed = parse_qs(self.query_string.decode("latin-1"), keep_blank_values=True)
        return {name: values[-1] for name, values in parsed.items()}

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            TooLarge: it is longer than the limit; the rest is not read.
        """
        declared = self.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._limits.body_bytes:
            raise self._too_large(int(declared))
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > self._limits.body_bytes:
                raise self._too_large(size)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

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
    """One whole answer."""

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, send: Send, *, head_only: bool = False) -> None:
        """Sends it over ASGI; without its body to a HEAD request."""
        headers = {
            "content-type": self.content_type,
            "content-length": str(len(self.body)),
            "x-content-type-options": "nosniff",
        } | dict(self.headers)
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if head_only else self.body})


def respond_json(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of JSON in UTF-8."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(body.encode("utf-8"), JSON, status, headers or {})


def parse_json(body: bytes) -> Any:
    """The value in a JSON body.

    Raises:
        InvalidInput: it is not JSON, or holds NaN or infinity, which JSON does not have.
    """

    def refuse(word: str) -> None:
        raise InvalidInput(
            f"The body holds {word}, which JSON does not have.",
            hint="Send finite numbers.",
            expected="JSON",
            got=word,
        )

    try:
        return json.loads(body, parse_constant=refuse)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InvalidInput(
            f"The body is not JSON: {error}.",
            hint="Send JSON in UTF-8, or set content-type to what the body is.",
            expected="JSON",
            got=repr(body[:40]),
        ) from error
