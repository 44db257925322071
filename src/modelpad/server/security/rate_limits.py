"""Rate limits: token buckets in memory that workers share.

A bucket fills with `rate` tokens a second up to `burst` of them, and a request takes one
(https://en.wikipedia.org/wiki/Token_bucket). No lock is taken: two workers that use one bucket
in the same microsecond may admit one request too many, which does no harm.
"""

from __future__ import annotations

import mmap
import struct
import time
import zlib

SLOT = struct.Struct("=Qdd")  # owner, tokens left, time of that
SLOTS = 16_384
PROBES = 32


class RateLimiter:
    """Buckets by name. Made before a fork, it is shared by all processes."""

    def __init__(self, rate: float, burst: float | None = None) -> None:
        """`rate` is requests a second for each name; `burst` at once, by default `rate`."""
        self.rate = rate
        self._burst = max(1.0, rate) if burst is None else burst
        self._table = mmap.mmap(-1, SLOT.size * SLOTS)

    def acquire(self, name: str, now: float | None = None, *, cost: float = 1.0) -> float:
        """Takes `cost` tokens of that name; returns 0, or the seconds until there are enough.

        `now` is of the monotonic clock, in seconds.
        """
        now = time.monotonic() if now is None else now
        place, tag, left, at = self._find(name, now)
        left = min(self._burst, left + max(0.0, now - at) * self.rate)
        wait_s = 0.0 if left >= cost else (cost - left) / self.rate
        SLOT.pack_into(self._table, place, tag, left if wait_s else left - cost, now)
        return wait_s

    def _find(self, name: str, now: float) -> tuple[int, int, float, float]:
        """Place, owner, tokens and time of a name's bucket, or of a free one.

        When all of its places are taken, it gets the one that was idle for longest.
        """
        key = name.encode("utf-8")
        tag = (zlib.crc32(key) << 32 | zlib.adler32(key)) or 1
        oldest, oldest_at = 0, float("inf")
        for probe in range(PROBES):
            place = (tag + probe) % SLOTS * SLOT.size
            owner, left, at = SLOT.unpack_from(self._table, place)
            if owner == tag:
                return place, tag, left, at
            if not owner:
                return place, tag, self._burst, now
            if at < oldest_at:
                oldest, oldest_at = place, at
        return oldest, tag, self._burst, now
