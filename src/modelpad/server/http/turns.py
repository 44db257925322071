"""Which of the workers that share a listening socket accepts the next connection.

The system wakes all of them, and without turns it is often the same one that is first: clients with
few connections would then use one processor. Here, the worker with the fewest connections accepts
(https://en.wikipedia.org/wiki/Load_balancing_(computing)); the others wait, but not for long: that
worker may be busy.
"""

from __future__ import annotations

import mmap

MAX_WORKERS = 256
TOLERANCE = 16  # one connection more than others for each so many is no reason to wait


class AcceptTurns:
    """The open connections of each worker, in memory that all processes share after a fork.

    The supervisor reserves a place before it forks, which the worker then inherits, and releases it
    when the worker has exited.
    """

    def __init__(self) -> None:
        # 0: no such worker, or it does not accept; else 1 more than its connections.
        self._places = memoryview(mmap.mmap(-1, 8 * MAX_WORKERS)).cast("q")
        self._reserved: set[int] = set()
        self._own = 0

    def reserve(self) -> int:
        """A place for the worker that is forked next."""
        self._own = next(
            (place for place in range(MAX_WORKERS) if place not in self._reserved), MAX_WORKERS - 1
        )
        self._reserved.add(self._own)
        return self._own

    def release(self, place: int) -> None:
        """The worker at this place has exited."""
        self._reserved.discard(place)
        self._places[place] = 0

    def report(self, connections: int) -> None:
        """This process accepts connections, and has so many."""
        self._places[self._own] = connections + 1

    def leave(self) -> None:
        """This process accepts no more."""
        self._places[self._own] = 0

    def is_next(self, connections: int) -> bool:
        """Whether this process, which has so many connections, accepts the next one."""
        least = min(filter(None, self._places.tolist()), default=connections + 1) - 1
        return connections - least <= connections // TOLERANCE
