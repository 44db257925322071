"""Checks of request heads that httptools does not make (RFC 9112)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from modelpad.server.errors import respond_problem

MAX_FIELDS = 128


class RequestRejected(Exception):
    """Invalid input; `response` is the error to send."""

    def __init__(self, status: HTTPStatus, message: str, hint: str) -> None:
        super().__init__(message)
        self.response = respond_problem(status, message, hint)


def head_too_large(limit: int) -> RequestRejected:
    """The error for a head of more than `limit` bytes."""
    return RequestRejected(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The request head is too large.",
        f"It may have at most {limit:,} bytes.",
    )


def check_fields(headers: Mapping[str, str], name: str, count: int) -> None:
    """Checks field number `count` of a head before it joins `headers`.

    Raises `RequestRejected` for too many fields, and for a second Host field: a proxy and this
    server might each use a different one.
    """
    if count > MAX_FIELDS:
        raise RequestRejected(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "The request has too many header fields.",
            f"It may have at most {MAX_FIELDS}.",
        )
    if name == "host" and name in headers:
        raise RequestRejected(
            HTTPStatus.BAD_REQUEST, "The request has more than one Host field.", "Send exactly one."
        )


def check_head(headers: Mapping[str, str], *, is_old: bool) -> None:
    """Checks a complete head; `is_old` is for HTTP/1.0.

    Raises `RequestRejected` for a missing Host field, and for a Transfer-Encoding that a proxy may
    read differently, so that it sees the body end elsewhere (request smuggling).
    """
    if not is_old and "host" not in headers:
        raise RequestRejected(
            HTTPStatus.BAD_REQUEST, "The request has no Host field.", "HTTP/1.1 requires one."
        )
    coding = headers.get("transfer-encoding")
    if coding is None:
        return
    if is_old:
        raise RequestRejected(
            HTTPStatus.BAD_REQUEST,
            "HTTP/1.0 does not support Transfer-Encoding.",
            "Send Content-Length, or use HTTP/1.1.",
        )
    if coding.strip().lower() != "chunked":
        raise RequestRejected(
            HTTPStatus.NOT_IMPLEMENTED,
            f"Unsupported Transfer-Encoding: {coding[:60]}.",
            "Only chunked is supported.",
        )
