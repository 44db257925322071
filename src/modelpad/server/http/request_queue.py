"""The requests of one connection: the one being handled, those waiting, the one being received."""

from __future__ import annotations

from collections import deque

from modelpad.server.http.actions import REFUSE, START
from modelpad.server.http.exchange import Exchange

PAUSE_BYTES = 64 * 1024  # of a body that the handler has not read yet
MAX_PIPELINED = 32


class RequestQueue:
    """Requests are handled one at a time, in the order received."""

    __slots__ = ("current", "receiving", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Exchange] = deque()
        self.current: Exchange | None = None  # being handled
        self.receiving: Exchange | None = None  # `current`, or else the last of `waiting`

    @property
    def is_idle(self) -> bool:
        """Whether no request is being received or handled, or is waiting."""
        return self.current is None and self.receiving is None and not self.waiting

    @property
    def is_full(self) -> bool:
        """Whether no more requests are to be parsed now."""
        return len(self.waiting) > MAX_PIPELINED

    @property
    def is_behind(self) -> bool:
        """Whether no more is to be read now: the handler has not read what was received."""
        receiving = self.receiving
        return len(self.waiting) > MAX_PIPELINED or (
            receiving is not None and len(receiving.part) > PAUSE_BYTES
        )

    @property
    def can_refuse_now(self) -> bool:
        """Whether an error can be written now: no earlier response is due or has started."""
        current = self.current
        return current is None or (current is self.receiving and not current.begun)

    @property
    def unfinished_bytes(self) -> int:
        """What the requests hold that are not complete, or wait."""
        size = sum(each.reservation.size for each in self.waiting)
        if self.receiving is not None and self.receiving is self.current:
            size += self.receiving.reservation.size
        return size

    @property
    def unread_bytes(self) -> int:
        """What the current request holds, if it was received completely."""
        current = self.current
        return 0 if current is None or current is self.receiving else current.reservation.size

    def begin(self, exchange: Exchange) -> None:
        """A request's head is complete."""
        self.receiving = exchange
        self.waiting.append(exchange)

    def end(self) -> None:
        """The request being received is complete."""
        if self.receiving is not None:
            self.receiving.complete = True
            self.receiving = None

    def start_next(self, *, blocked: bool) -> int:
        """Makes the first waiting request the current one; returns the action that it needs.

        0 while a refused request has little more to send. While writing is `blocked`, a refusal
        is written by a task, which waits.
        """
        exchange = self.waiting[0]
        if exchange.refusal is None or blocked:
            action = START
        elif exchange.complete or not exchange.is_small:
            action = REFUSE
        else:
            return 0
        self.current = self.waiting.popleft()
        return action

    def finish_current(self) -> Exchange:
        """The current request is done."""
        exchange, self.current = self.current, None
        assert exchange is not None
        exchange.finish()
        return exchange

    def drop_unstarted(self) -> None:
        """Releases the current request if its handler is cancelled before it starts."""
        if self.current is not None and not self.current.started:
            self.current.finish()

    def drop_unfinished(self) -> None:
        """Releases those that are not complete, or wait."""
        if self.receiving is not None:
            self.receiving.finish()
        for exchange in self.waiting:
            exchange.finish()

    def lose(self) -> None:
        """The client has disconnected."""
        for exchange in (self.current, self.receiving, *self.waiting):
            if exchange is not None:
                exchange.gone = True
                if exchange is not self.current:
                    exchange.finish()
        self.drop_unstarted()
