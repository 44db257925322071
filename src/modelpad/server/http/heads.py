"""What HTTP/1.1 forbids in a request's head beyond what its parser refuses (RFC 9112)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from modelpad.server.errors import respond_problem

MAX_FIELDS = 128


class HeadRefused(Exception):
    """A head that is not allowed; `response` says why."""

    def __init__(self, status: HTTPStatus, message: str, hint: str) -> None:
        super().__init__(message)
        self.response = respond_problem(status, message, hint)


def head_too_large(limit: int) -> HeadRefused:
    """The error of a head of more than `limit` bytes."""
    return HeadRefused(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The request's head is too large.",
        f"Of it at most {limit:,} bytes are taken.",
    )


def check_fields(headers: Mapping[str, str], name: str, count: int) -> None:
    """Checks one more field of a head, the `count`th.

    Raises `HeadRefused` for a second Host, which two servers may read differently, and for too many
    fields.
    """
    if count > MAX_FIELDS:
        raise HeadRefused(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "The request has too many header fields.",
            f"At most {MAX_FIELDS} are taken.",
        )
    if name == "host" and name in headers:
        raise HeadRefused(
            HTTPStatus.BAD_REQUEST, "The request has more than one Host field.", "Send one."
        )


def check_head(headers: Mapping[str, str], *, is_old: bool) -> None:
    """Checks a whole head; `is_old` is HTTP/1.0.

    Raises `HeadRefused` for a request without Host, and for a body whose end another server on the
    way may see elsewhere (request smuggling).
    """
    if not is_old and "host" not in headers:
        raise HeadRefused(
            HTTPStatus.BAD_REQUEST, "The request has no Host field.", "HTTP/1.1 needs one."
        )
    coding = headers.get("transfer-encoding")
    if coding is None:
        return
    if is_old:
        raise HeadRefused(
            HTTPStatus.BAD_REQUEST,
            "HTTP/1.0 has no Transfer-Encoding.",
            "Send Content-Length, or use HTTP/1.1.",
        )
    if coding.strip().lower() != "chunked":
        raise HeadRefused(
            HTTPStatus.NOT_IMPLEMENTED,
            f"Unsupported Transfer-Encoding: {coding[:60]}.",
            "Only chunked is supported.",
        )
