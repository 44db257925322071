"""The first bytes of a response: status line and header fields."""

from __future__ import annotations

import time
from functools import lru_cache
from http import HTTPStatus

from modelpad.server.http.messages import Response

MAX_CACHED = 256
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
STATUS_LINES = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in HTTPStatus}


class DateLine:
    """The Date field, formatted once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second, self._line = 0, b""

    def at(self, now: float) -> bytes:
        """The field at `now`, in seconds since the epoch."""
        second = int(now)
        if self._second != second:
            self._second = second
            self._line = f"date: {format_date(second)}\r\n".encode()
        return self._line


def format_date(second: int) -> str:
    """A time as HTTP writes it (RFC 9110, 5.6.7); importing `email.utils` for it takes 3 ms."""
    at = time.gmtime(second)
    day, month = DAYS[at.tm_wday], MONTHS[at.tm_mon - 1]
    return f"{day}, {at.tm_mday:02} {month} {at.tm_year} {time.strftime('%H:%M:%S', at)} GMT"


@lru_cache(maxsize=MAX_CACHED)
def _begin_head(status: int, content_type: str) -> bytes:
    line = STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    fields = f"content-type: {content_type}\r\nx-content-type-options: nosniff\r\n"
    return (line + fields).encode("latin-1")


def write_head(response: Response, date_line: bytes, *, keep_alive: bool, is_old: bool) -> bytes:
    """Everything before the body; `is_old` is for HTTP/1.0 clients."""
    begin = _begin_head(response.status, response.content_type)
    whole = response.parts is None
    length = b"content-length: %d\r\n" % len(response.body) if whole else b""
    if whole and keep_alive and not is_old and not response.headers:  # as nearly every response
        return b"%b%b%b\r\n" % (begin, length, date_line)
    lines = [f"{name}: {value}\r\n" for name, value in response.headers.items()]
    if not keep_alive:
        lines.append("connection: close\r\n")
    elif is_old:
        lines.append("connection: keep-alive\r\n")
    if not whole and not is_old:
        lines.append("transfer-encoding: chunked\r\n")
    return b"%b%b%b%b\r\n" % (begin, length, "".join(lines).encode("latin-1"), date_line)
