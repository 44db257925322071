"""The open connections of a server: which are closed when there are too many, or too many bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from modelpad.server.budget import ByteBudget
from modelpad.server.http.state import ConnectionState

BUSY_RANK = 3


class Pooled(Protocol):
    """A connection, as the pool needs it."""

    state: ConnectionState

    @property
    def unsent_bytes(self) -> int:
        """What was written and not sent yet."""

    def evict(self) -> None:
        """Drops unfinished requests."""

    def abort(self) -> None:
        """Closes at once."""

    def time_out(self, now: float) -> None:
        """The deadline has passed."""


Member = TypeVar("Member", bound=Pooled)


class ConnectionPool(Generic[Member]):
    """Connections count from when they are accepted, before TLS, until their socket is closed."""

    def __init__(self, budget: ByteBudget) -> None:
        self.open: set[Member] = set()
        self.lingering: set[Member] = set()  # response sent; closed once the client has read it
        self.held: set[Member] = set()  # of the open ones: those whose refusal waits
        self.max_held = 0
        self.closed = 0  # since the last `time_out`
        self.changed: Callable[[int], None] = lambda open_count: None  # when `open` has changed
        self._budget = budget
        budget.evict = self.evict_bytes

    def __len__(self) -> int:
        return len(self.open) + len(self.lingering)

    def add(self, connection: Member) -> None:
        """A connection was accepted."""
        self.open.add(connection)
        self.changed(len(self.open))

    def linger(self, connection: Member) -> None:
        """A connection only waits for its client to read the last response."""
        self._forget(connection)
        self.lingering.add(connection)

    def hold(self, connection: Member) -> bool:
        """A connection has a refusal that may wait; returns whether there is room for one more."""
        if len(self.held) >= self.max_held:
            return False
        self.held.add(connection)
        return True

    def discard(self, connection: Member) -> None:
        """A connection is closed."""
        self._forget(connection)
        self.closed += 1

    def evict_idlest(self) -> bool:
        """Closes the connection idle for longest; returns whether there was one."""
        every = [*self.lingering, *self.open]
        idlest = min(every, key=lambda each: rank_for_eviction(each.state), default=None)
        if idlest is None or rank_for_eviction(idlest.state)[0] >= BUSY_RANK:
            return False
        idlest.abort()
        self._forget(idlest)
        return True

    def evict_bytes(self, size: int, total: int) -> None:
        """Drops the largest unfinished requests, of connections that hold more than `total`.

        Stops when `size` bytes are free that were not before.
        """
        enough = self._budget.used - size
        held = {each: count_evictable(each.state, each.unsent_bytes) for each in self.open}
        heavy = sorted((each for each in held if held[each] > total), key=lambda each: -held[each])
        for connection in heavy:
            connection.evict()
            if self._budget.used <= enough:
                return

    def time_out(self, now: float) -> int:
        """Times out what is due; returns how many connections were closed since the last call."""
        for connection in list(self.open):
            if connection.state.deadline <= now:
                connection.time_out(now)
        closed, self.closed = self.closed, 0
        return closed

    def _forget(self, connection: Member) -> None:
        self.open.discard(connection)
        self.lingering.discard(connection)
        self.held.discard(connection)
        self.changed(len(self.open))


def rank_for_eviction(state: ConnectionState) -> tuple[int, float]:
    """The connection of the lowest rank makes room for a new one; none of `BUSY_RANK` does.

    First those that are closing, then those that never sent a request, then idle ones and those
    whose refusal is held; of each kind the one silent for longest.
    """
    if state.closing:
        rank = 0
    elif not state.has_asked:
        rank = 1
    else:
        rank = 2 if state.requests.is_idle or state.held else BUSY_RANK
    return rank, state.active_at


def count_evictable(state: ConnectionState, unsent: int) -> int:
    """Bytes that evicting a connection would free, without those of a running handler.

    `unsent` bytes of its responses were written, but not sent yet.
    """
    requests = state.requests
    size = state.head_reserved + requests.unfinished_bytes
    return size + unsent + requests.unread_bytes if state.blocked else size
