"""The first bytes of a response: status line and header fields."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

from modelpad.server.http.messages import Response

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
            self._line = f"date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._line


def write_head(response: Response, date_line: bytes, *, keep_alive: bool, is_old: bool) -> bytes:
    """Everything before the body; `is_old` is for HTTP/1.0 clients."""
    status = response.status
    lines = [STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in response.list_headers()]
    if not keep_alive:
        lines.append("connection: close\r\n")
    elif is_old:
        lines.append("connection: keep-alive\r\n")
    if response.parts is not None and not is_old:
        lines.append("transfer-encoding: chunked\r\n")
    return b"%b%b\r\n" % ("".join(lines).encode("latin-1"), date_line)
