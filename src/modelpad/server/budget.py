"""One byte budget a worker: what requests in flight may hold in memory together.

Every limit on a single request is multiplied by the number of requests. The budget is what bounds
their sum: bodies that arrive, what is decoded from them, and answers that wait for their client.
"""

from __future__ import annotations

from types import TracebackType

from modelpad.errors import Overloaded, TooLarge


class ByteBudget:
    """Counts the bytes that are reserved, up to `limit`; used from one event loop alone."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def check(self, size: int) -> None:
        """Raises what `reserve` raises, without reserving anything."""
        if size > self.limit:
            raise TooLarge(
                f"The request needs {size:,} bytes of memory; the limit is {self.limit:,}.",
                hint="Send fewer values at once, or raise the limit with --max-inflight-mb.",
                limit=self.limit,
                got=size,
            )
        if self.used + size > self.limit:
            raise Overloaded(
                "Too many bytes are in flight.", hint="Try again in a second.", retry_after_s=1
            )

    def reserve(self, size: int) -> None:
        """Takes `size` bytes.

        Raises:
            TooLarge: more than the whole budget.
            Overloaded: more than is left of it now.
        """
        self.check(size)
        self.used += size

    def release(self, size: int) -> None:
        """Gives `size` reserved bytes back."""
        self.used -= size


class Reservation:
    """What one request holds of a budget; released as a whole, once."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self.size = 0

    def grow(self, size: int) -> None:
        """Reserves `size` bytes more. Raises as `ByteBudget.reserve`."""
        self._budget.reserve(size)
        self.size += size

    def release(self) -> None:
        """Gives everything back."""
        self._budget.release(self.size)
        self.size = 0

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
