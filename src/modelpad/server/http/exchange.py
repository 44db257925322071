"""One request and its response: the unread body, the reserved bytes, the outcome."""

from __future__ import annotations

from modelpad.server.budget import ByteBudget, Reservation
from modelpad.server.http.messages import Request, Response, read_count

# The rest of a rejected request's body is read if it is at most this long, so that the connection
# can be kept.
SMALL_BYTES = 256 * 1024


class Exchange:
    """A request and its response; the bytes it holds stay reserved until it is finished."""

    __slots__ = (
        "begun",
        "complete",
        "expects",
        "gone",
        "is_old",
        "keep_alive",
        "part",
        "refusal",
        "request",
        "reservation",
        "started",
    )

    def __init__(self, budget: ByteBudget, *, keep_alive: bool, is_old: bool) -> None:
        self.keep_alive = keep_alive
        self.is_old = is_old  # HTTP/1.0, which has no chunked encoding
        self.reservation = Reservation(budget)
        self.part: bytes | bytearray = b""  # of the body, not read by the handler yet
        self.complete = False  # the whole request has been received
        self.started = False  # its handler is running
        self.begun = False  # its response has started
        self.expects = False  # the client waits for "100 Continue" before it sends the body
        self.gone = False  # the client has disconnected
        self.request: Request | None = None
        self.refusal: Response | None = None  # sent instead of calling the handler

    @property
    def is_small(self) -> bool:
        """Whether its body is known to be short and comes without "100 Continue"."""
        if self.expects:
            return False
        declared = self.request.headers.get("content-length", "") if self.request else ""
        size = read_count(declared)
        return size is not None and size <= SMALL_BYTES

    def add(self, data: bytes) -> None:
        """Adds to the body. Raises as `Reservation.grow`."""
        self.reservation.grow(len(data))
        if not self.part:
            self.part = data
        elif isinstance(self.part, bytearray):
            self.part += data
        else:
            self.part = bytearray(self.part) + data

    def take(self) -> bytes | bytearray:
        """Returns the unread part of the body, which then counts as read."""
        part, self.part = self.part, b""
        return part

    def finish(self) -> None:
        """Releases everything it holds."""
        self.reservation.release()
        self.part = b""
        self.request = None  # it reads its body from this exchange: a reference cycle
