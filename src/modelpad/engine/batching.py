"""The batch policy: which queued requests run next, as a pure function of queue and time.

An idle engine runs a request immediately. Requests that arrive while it is busy then run together,
so batches grow under load. By default, a request never waits for others.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class BatchLimits(msgspec.Struct, frozen=True):
    """The size of a batch in items, and how long one that is not full waits for more requests.

    A request with more than `chunk_size` items runs in chunks; 0 means `max_batch_size`.
    """

    max_batch_size: int = 16
    wait_s: float = 0.0
    chunk_size: int = 0

    def __post_init__(self) -> None:
        if self.max_batch_size < 1 or self.wait_s < 0:
            raise ValueError("max_batch_size must be at least 1, and wait_s at least 0")
        if self.chunk_size and self.chunk_size < self.max_batch_size:
            raise ValueError("chunk_size must be at least max_batch_size")

    @property
    def max_chunk_size(self) -> int:
        """The largest number of items of one request that run at once."""
        return self.chunk_size or self.max_batch_size


class QueuedRequest(msgspec.Struct, eq=False):
    """A request in the queue. Times are in seconds of a monotonic clock.

    After `deadline` the result is useless. `cancelled` means that the client has disconnected.
    """

    arrived: float
    deadline: float
    items: int = 1
    cancelled: bool = False


class Decision(msgspec.Struct, frozen=True):
    """Positions in the queue to drop and to run now; if none run, the time until which to wait.

    `wait_until` is None if something runs, or nothing is left in the queue.
    """

    dropped: tuple[int, ...] = ()
    selected: tuple[int, ...] = ()
    wait_until: float | None = None


def decide(queue: Sequence[QueuedRequest], now: float, limits: BatchLimits) -> Decision:
    """Decides what to do with `queue`, oldest request first, at the time `now`.

    Expired and cancelled requests are dropped. The oldest remaining request always runs, even if it
    exceeds `limits.max_batch_size` alone; others join it in order while they fit. No request waits
    for others beyond its deadline.
    """
    dropped: list[int] = []
    selected: list[int] = []
    total = 0
    for position, request in enumerate(queue):
        if request.cancelled or request.deadline <= now:
            dropped.append(position)
        elif not selected or total + request.items <= limits.max_batch_size:
            selected.append(position)
            total += request.items
            if total >= limits.max_batch_size:
                break
        else:
            break
    if selected and total < limits.max_batch_size and len(dropped) + len(selected) == len(queue):
        full_at = queue[selected[0]].arrived + limits.wait_s
        in_time = all(queue[position].deadline > full_at for position in selected)
        if limits.wait_s and now < full_at and in_time:
            return Decision(tuple(dropped), (), full_at)
    return Decision(tuple(dropped), tuple(selected))
