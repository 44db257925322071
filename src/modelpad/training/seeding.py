"""Seeds derived from the run's seed and a position in the run.

An epoch that is repeated after a crash therefore draws the same random numbers.
"""

from __future__ import annotations


def derive_seed(*parts: int) -> int:
    """A 31-bit seed from (seed, epoch) or (seed, epoch, batch), for example; stable across runs."""
    return hash(parts) & 0x7FFFFFFF
