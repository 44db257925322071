"""Requests that a queue will have in a moment.

An event loop reads from all connections that are ready before it runs the tasks of the requests
that it has found. Counting what is in the queue would let all of them pass a check for room.
"""

from __future__ import annotations

import asyncio


class Expected:
    """Counts the requests found in one turn of the event loop; in the next, they are queued."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def add(self) -> None:
        """A request was found; its task starts in the next turn."""
        if not self.count:
            asyncio.get_running_loop().call_soon(self._clear)
        self.count += 1

    def _clear(self) -> None:
        self.count = 0
