"""Runs a session off the event loop, with a bounded queue and a time limit.

`Runner` is the seam: dynamic batching is another class of the same two methods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from modelpad.engine.session import Session
from modelpad.errors import DeadlineExceeded, Overloaded


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait, and how long: `length` requests, `timeout_s` seconds each."""

    length: int = 128
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if self.length < 1 or self.timeout_s <= 0:
            raise ValueError("a queue needs a length of at least 1 and a time-out above 0 s")


class Runner(Protocol):
    """Answers one item at a time for many callers."""

    @property
    def waiting(self) -> int:
        """How many requests wait or run."""

    async def answer(self, values: Mapping[str, object]) -> dict[str, Any]:
        """One encoded answer. Raises `Overloaded`, `DeadlineExceeded` and what the session does."""

    def close(self) -> None:
        """Stop taking work; what runs is finished."""


class ThreadRunner:
    """A runner with a few threads over one session; ONNX Runtime and Pillow release the GIL."""

    def __init__(
        self, session: Session, *, threads: int = 1, limits: QueueLimits | None = None
    ) -> None:
        self.session = session
        self.limits = limits or QueueLimits()
        self._waiting = 0
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="modelpad-engine")

    @property
    def waiting(self) -> int:
        """How many requests wait or run."""
        return self._waiting

    async def answer(self, values: Mapping[str, object]) -> dict[str, Any]:
        """One encoded answer, run by a thread when its turn comes."""
        if self._waiting >= self.limits.length:
            raise Overloaded(
                f"{self._waiting} requests wait already.",
                hint="Try again in a second.",
                retry_after_s=1,
            )
        loop = asyncio.get_running_loop()
        work = self._threads.submit(self.session.answer, values)
        self._waiting += 1
        work.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                return await asyncio.wrap_future(work)
        except TimeoutError:
            raise DeadlineExceeded(
                f"No answer within {self.limits.timeout_s:g} s.",
                hint="Try again, or raise the limit with --timeout.",
                timeout_s=self.limits.timeout_s,
            ) from None

    def close(self) -> None:
        """Stop taking work; what waits is cancelled, what runs is finished."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _leave(self) -> None:
        self._waiting -= 1
