"""Waiting for an engine to be idle before it is closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

POLL_S = 0.005


class Holds:
    """Counts the requests of which the rest is still being received.

    As a context manager, it counts one more while the context lasts.
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *error: object) -> None:
        self.count -= 1

    async def drain(self, is_idle: Callable[[], bool], timeout_s: float) -> bool:
        """Waits until nothing is held and the engine is idle. Returns False on time-out."""
        end = time.monotonic() + timeout_s
        while (self.count or not is_idle()) and time.monotonic() < end:
            await asyncio.sleep(POLL_S)
        return not self.count and is_idle()
