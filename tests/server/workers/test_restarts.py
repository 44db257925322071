"""How long to wait before a worker that died is replaced."""

from __future__ import annotations

from modelpad.server.workers.restarts import MAX_DELAY_S, STEADY_S, RestartBackoff


def test_the_first_replacement_starts_at_once() -> None:
    backoff = RestartBackoff()
    assert backoff.schedule(0.0, now=100.0) == 0
    assert backoff.may_start(100.0)


def test_a_crash_loop_slows_down() -> None:
    backoff = RestartBackoff()
    assert [backoff.schedule(1.0, 100.0) for _ in range(8)] == [0, 1, 2, 4, 8, 16, 30, MAX_DELAY_S]
    assert not backoff.may_start(129.9)
    assert backoff.may_start(130.0)


def test_a_worker_that_served_for_long_resets_the_delay() -> None:
    backoff = RestartBackoff()
    for _ in range(5):
        backoff.schedule(0.0, 100.0)
    assert backoff.schedule(STEADY_S + 1, 200.0) == 0
    assert backoff.schedule(0.0, 201.0) == 1
