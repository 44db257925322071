"""Confidence intervals and tests for counts of right and wrong answers, in plain Python.

It knows nothing of models or arrays; what needs resampling is in `training.intervals`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def wilson(correct: int, total: int, level: float = LEVEL) -> Interval:
    """The interval of a proportion of which `correct` of `total` trials were observed.

    The trials must be independent. No trials give (0, 1). Raises ValueError unless
    0 <= correct <= total and 0 < level < 1. Wilson 1927, "Probable inference, the law of
    succession, and statistical inference".
    """
    if not 0 <= correct <= total:
        raise ValueError(f"{correct} of {total} is not a proportion")
    if not 0 < level < 1:
        raise ValueError(f"the level {level} is not between 0 and 1")
    if total == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, spread = correct / total, z * z / total
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    # Rounding must not exclude 0 or 1 when all trials agree.
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == total else min(1.0, centre + half)
    return Interval(low, high)


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided exact p-value that two models tested on the same items are equally good.

    `only_first` counts the items that only the first model gets right, `only_second` those that
    only the second does. Raises ValueError for negative counts. McNemar 1947, in its exact form:
    a sign test on the items on which they disagree.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"{only_first} and {only_second} are not counts")
    trials, fewer = only_first + only_second, min(only_first, only_second)
    whole = math.lgamma(trials + 1) - trials * math.log(2)
    tail = math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(trials - k + 1)) for k in range(fewer + 1)
    )
    return min(1.0, 2 * tail)
