"""One byte budget per worker: the memory that all requests in flight may hold together.

Limits on single requests are multiplied by the number of requests. The budget bounds their sum:
bodies being received, what is decoded from them, and responses that wait for their client.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from modelpad.errors import Overloaded, TooLarge
from modelpad.server.allocator import TRIMMED_BYTES, trim_soon

# Frees `size` bytes for a request that will then hold `total`: (size, total).
Evict = Callable[[int, int], None]

SMALL_BYTES = 1024 * 1024


def too_many_bytes() -> Overloaded:
    """The error for a request that currently exceeds the budget."""
    return Overloaded(
        "Too many bytes are in flight.", hint="Try again in a second.", retry_after_s=1
    )


class ByteBudget:
    """Counts reserved bytes, up to `limit`; used from one event loop only.

    The last quarter is for requests of up to a megabyte, so that large ones, however many and slow,
    never keep small ones out.

    When the budget is exhausted, `evict` may drop requests that hold more than the new one: the
    largest upload loses first, a small request hardly ever.
    """

    __slots__ = ("evict", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.evict: Evict | None = None

    def reserve(self, size: int, total: int = 0) -> None:
        """Takes `size` bytes for a request that then holds `total`.

        Raises:
            TooLarge: the request needs more than the whole budget.
            Overloaded: it needs more than is left now.
        """
        total = max(size, total)
        limit = self.limit if total <= SMALL_BYTES else self.limit * 3 // 4
        if self.used + size > limit:
            self._make_room(size, total, limit)
        self.used += size

    def release(self, size: int) -> None:
        """Releases `size` bytes."""
        self.used -= size

    def _make_room(self, size: int, total: int, limit: int) -> None:
        if total > limit:
            raise TooLarge(
                f"The request needs {total:,} bytes of memory; the limit is {limit:,}.",
                hint="Send fewer values at once, or raise the limit with --max-inflight-mb.",
                limit=limit,
                got=total,
            )
        if self.evict is not None:
            self.evict(self.used + size - limit, total)
        if self.used + size > limit:
            raise too_many_bytes()


class Reservation:
    """The bytes that one request holds of a budget."""

    __slots__ = ("_budget", "released", "size")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.size = 0
        self.released = False

    def grow(self, size: int) -> None:
        """Reserves `size` more bytes.

        Raises as `ByteBudget.reserve`, and `Overloaded` when the request was dropped to make room.
        """
        self._budget.reserve(size, self.size + size)
        self.size += size
        if self.released:
            self.release()
            raise Overloaded("The request was dropped.", hint="Try again.", retry_after_s=1)

    def force(self, size: int) -> None:
        """Reserves `size` more bytes that are in memory already, beyond the limit if need be."""
        self._budget.used += size
        self.size += size

    def shrink(self, size: int) -> None:
        """Releases `size` bytes, or whatever remains."""
        size = min(size, self.size)
        self._budget.used -= size
        self.size -= size

    def clear(self) -> None:
        """Releases everything; it may grow again."""
        if self.size > TRIMMED_BYTES:
            trim_soon()
        self._budget.used -= self.size
        self.size = 0

    def release(self) -> None:
        """Releases everything permanently."""
        self.clear()
        self.released = True

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
