"""Which of the requests that wait run next, as a pure function of the queue and the time.

An idle engine runs a request at once; while it is busy others gather, and run together when it is
free: batches grow by themselves under load. Waiting on purpose is off unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """At most `max_batch_size` items run at once; a batch that is not full waits `wait_s` for more.

    A request of more items than `piece` is run in pieces of as many; 0 is `max_batch_size`.
    """

    max_batch_size: int = 16
    wait_s: float = 0.0
    piece: int = 0

    def __post_init__(self) -> None:
        if self.max_batch_size < 1 or self.wait_s < 0:
            raise ValueError("a batch has at least 1 item, and waits no less than 0 s")
        if self.piece and self.piece < self.max_batch_size:
            raise ValueError("a piece has at least as many items as a batch")

    @property
    def largest(self) -> int:
        """The largest number of items of one request that are run at once."""
        return self.piece or self.max_batch_size


@dataclass(slots=True, eq=False)
class Waiting:
    """A request in the queue; times are those of one monotonic clock, in seconds.

    `deadline` is when its answer is of no use any more; `gone` when its client has left.
    """

    arrived: float
    deadline: float
    items: int = 1
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Places in the queue: which are dropped, which run now; else until when to wait.

    `wait_until` is None when something runs, or nothing is left in the queue.
    """

    dropped: tuple[int, ...] = ()
    taken: tuple[int, ...] = ()
    wait_until: float | None = None


def decide(queue: Sequence[Waiting], now: float, limits: BatchLimits) -> Decision:
    """What to do with `queue`, the oldest first, at the time `now`.

    Nothing that has expired or whose client has gone is run. The oldest that is left always runs
    first, even alone above `limits.max_batch_size`; others join in their order while they fit.
    Nothing waits for others beyond its deadline.
    """
    dropped: list[int] = []
    taken: list[int] = []
    total = 0
    for place, each in enumerate(queue):
        if each.gone or each.deadline <= now:
            dropped.append(place)
        elif not taken or total + each.items <= limits.max_batch_size:
            taken.append(place)
            total += each.items
            if total >= limits.max_batch_size:
                break
        else:
            break
    if taken and total < limits.max_batch_size and len(dropped) + len(taken) == len(queue):
        full_at = queue[taken[0]].arrived + limits.wait_s
        in_time = all(queue[place].deadline > full_at for place in taken)
        if limits.wait_s and now < full_at and in_time:
            return Decision(tuple(dropped), (), full_at)
    return Decision(tuple(dropped), tuple(taken))
