"""Intervals and tests of counts, against published values and closed forms."""

from __future__ import annotations

import math

import pytest

from modelpad.statistics import Interval, mcnemar, wilson


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(
    correct: int, total: int, low: float, high: float
) -> None:
    found = wilson(correct, total)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


def test_wilson_contains_the_share_and_mirrors() -> None:
    for total in (1, 3, 40, 10_000):
        for correct in {0, 1, total // 2, total}:
            found, mirrored = wilson(correct, total), wilson(total - correct, total)
            assert correct / total in found
            assert 0 <= found.low < found.high <= 1
            assert found.low == pytest.approx(1 - mirrored.high)


def test_wilson_knows_nothing_without_trials() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)


@pytest.mark.parametrize(("correct", "total", "level"), [(-1, 3, 0.9), (4, 3, 0.9), (1, 3, 1.0)])
def test_wilson_rejects_impossible_counts(correct: int, total: int, level: float) -> None:
    with pytest.raises(ValueError):
        wilson(correct, total, level)


def test_wilson_of_a_lower_level_is_narrower() -> None:
    assert wilson(30, 40, 0.8).low > wilson(30, 40, 0.95).low


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 5), (10, 2), (3, 14), (0, 60)])
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int) -> None:
    trials = first + second
    tail = sum(math.comb(trials, k) for k in range(min(first, second) + 1)) / 2**trials
    assert mcnemar(first, second) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(first, second) == mcnemar(second, first)


def test_mcnemar_of_many_items() -> None:
    assert mcnemar(50_000, 50_000) == 1
    assert mcnemar(49_000, 51_000) == pytest.approx(2.6e-10, rel=0.05)
    assert mcnemar(0, 100_000) == 0


def test_mcnemar_rejects_negative_counts() -> None:
    with pytest.raises(ValueError):
        mcnemar(-1, 2)
