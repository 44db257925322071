"""One request on a connection: what has come of its body, what it holds, and how it ends."""

from __future__ import annotations

import asyncio

from modelpad.server.budget import ByteBudget, Reservation
from modelpad.server.http.messages import Request, Response, read_count

# Of a refused request's body: it is waited for, so that its client may stay.
SMALL_BYTES = 256 * 1024


class Exchange:
    """A request and its response; the bytes that it holds are reserved until it is finished."""

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
        "waiter",
    )

    def __init__(self, budget: ByteBudget, *, keep_alive: bool, is_old: bool) -> None:
        self.keep_alive = keep_alive
        self.is_old = is_old  # HTTP/1.0, which has no chunks
        self.reservation = Reservation(budget)
        self.part: bytes | bytearray = b""  # of the body, not read by the handler yet
        self.complete = False
        self.started = False  # its task runs
        self.begun = False  # its answer is on the way
        self.expects = False  # its client waits to be told that its body is wanted
        self.gone = False
        self.waiter: asyncio.Future[None] | None = None
        self.request: Request | None = None
        self.refusal: Response | None = None

    @property
    def is_small(self) -> bool:
        """Whether its body is known to be short, and is sent without being asked for."""
        if self.expects:
            return False
        declared = self.request.headers.get("content-length", "") if self.request else ""
        size = read_count(declared)
        return size is not None and size <= SMALL_BYTES

    def add(self, data: bytes) -> None:
        """More of the body. Raises as `Reservation.grow`."""
        self.reservation.grow(len(data))
        if not self.part:
            self.part = data
        elif isinstance(self.part, bytearray):
            self.part += data
        else:
            self.part = bytearray(self.part) + data
        self.wake()

    def take(self) -> bytes | bytearray:
        """What has come of the body since it was last asked."""
        part, self.part = self.part, b""
        return part

    def wake(self) -> None:
        """Something came, or nothing will any more."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def finish(self) -> None:
        """Lets go of everything: nobody asks for it any more."""
        self.reservation.release()
        self.part = b""
        self.request = None  # which reads from this exchange: a cycle
