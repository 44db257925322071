"""The batch policy, for any queue at any time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpad.engine.batching import BatchLimits, QueuedRequest, decide

TIMES = st.floats(0, 100, allow_nan=False)
WAITING = st.builds(
    QueuedRequest, arrived=TIMES, deadline=TIMES, items=st.integers(1, 40), cancelled=st.booleans()
)
QUEUES = st.lists(WAITING, max_size=40).map(lambda q: sorted(q, key=lambda w: w.arrived))
LIMITS = st.builds(
    BatchLimits, max_batch_size=st.integers(1, 32), wait_s=st.sampled_from([0.0, 0.5, 30.0])
)


@given(QUEUES, TIMES, LIMITS)
def test_nothing_runs_that_is_of_no_use(queue: Any, now: Any, limits: Any) -> None:
    decision = decide(queue, now, limits)
    assert all(
        queue[place].deadline > now and not queue[place].cancelled for place in decision.selected
    )
    assert all(queue[at].deadline <= now or queue[at].cancelled for at in decision.dropped)
    assert not set(decision.selected) & set(decision.dropped)


@given(QUEUES, TIMES, LIMITS)
def test_batches_keep_their_size_and_order(queue: Any, now: Any, limits: Any) -> None:
    selected = decide(queue, now, limits).selected
    assert list(selected) == sorted(selected)
    total = sum(queue[place].items for place in selected)
    assert total <= limits.max_batch_size or len(selected) == 1
    useful = [n for n, each in enumerate(queue) if each.deadline > now and not each.cancelled]
    assert list(selected) == useful[: len(selected)]


@given(QUEUES, TIMES, LIMITS)
def test_an_engine_that_need_not_wait_never_does(queue: Any, now: Any, limits: Any) -> None:
    decision = decide(queue, now, BatchLimits(limits.max_batch_size))
    useful = any(each.deadline > now and not each.cancelled for each in queue)
    assert bool(decision.selected) == useful
    assert decision.wait_until is None


@given(QUEUES, TIMES, LIMITS)
def test_waiting_ends(queue: Any, now: Any, limits: Any) -> None:
    decision = decide(queue, now, limits)
    if decision.wait_until is not None:
        assert not decision.selected
        assert now < decision.wait_until <= max(w.arrived for w in queue) + limits.wait_s
        later = decide(queue, decision.wait_until, limits)
        assert later.wait_until is None


def test_a_full_batch_does_not_wait() -> None:
    queue = [QueuedRequest(0.0, 9.0) for _ in range(4)]
    assert decide(queue, 0.0, BatchLimits(4, 1.0)).selected == (0, 1, 2, 3)
    assert decide(queue[:3], 0.0, BatchLimits(4, 1.0)).wait_until == 1.0
    assert decide(queue, 0.0, BatchLimits(2, 1.0)).selected == (0, 1)


def test_a_large_request_runs_alone() -> None:
    queue = [QueuedRequest(0.0, 9.0, items=50), QueuedRequest(0.0, 9.0)]
    assert decide(queue, 1.0, BatchLimits(16)).selected == (0,)


def test_a_chunk_is_no_smaller_than_a_batch() -> None:
    with pytest.raises(ValueError):
        BatchLimits(8, chunk_size=4)
