"""Seeds that depend on nothing but the run's seed and a position in it.

An epoch that is trained again after a crash then draws the same random numbers.
"""

from __future__ import annotations


def derive_seed(*parts: int) -> int:
    """A seed of 31 bits for, say, (seed, epoch) or (seed, epoch, batch); the same on every run."""
    return hash(parts) & 0x7FFFFFFF
