"""Ranges of numeric options that a search tries values from. It knows nothing of searches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DIGITS = 3  # of a value that a search tries, so that its command is short and exact


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from `low` to `high`, both included; whole numbers if both are `int`.

    `log` gives each order of magnitude the same share.
    """

    low: float
    high: float
    log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def round(self, value: float) -> float:
        """The value as it is tried: a whole number, or three significant digits."""
        if self.is_whole:
            return int(value)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


Space = Mapping[str, Range]
"""The options that a search varies, by name."""


def describe_space(space: Space) -> str:
    """`learning_rate 0.0003..0.03, batch_size 16..256`."""
    return ", ".join(f"{name} {each}" for name, each in space.items())
