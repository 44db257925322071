"""Token buckets: how many requests each name may send."""

from __future__ import annotations

from modelpad.server.security.rate_limits import PROBES, SLOTS, RateLimiter


def test_tokens_come_back_with_time() -> None:
    rates = RateLimiter(2.0)
    assert [rates.acquire("ann", 10.0), rates.acquire("ann", 10.0)] == [0, 0]
    assert rates.acquire("ann", 10.0) == 0.5
    assert rates.acquire("bob", 10.0) == 0
    assert rates.acquire("ann", 10.5) == 0
    assert rates.acquire("ann", 10.6) > 0


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    rates = RateLimiter(1.0)
    assert rates.acquire("ann", 100.0) == 0
    assert rates.acquire("ann", 50.0) > 0
    assert rates.acquire("ann", 50.5) > 0


def test_more_names_than_buckets_do_no_harm() -> None:
    rates = RateLimiter(1.0)
    for number in range(SLOTS + 4 * PROBES):
        rates.acquire(f"name {number}", number / 1e6)
    assert rates.acquire("new", 1.0) == 0
    assert rates.acquire("new", 1.0) > 0
