"""Metrics of all workers together: no counter goes down."""

from __future__ import annotations

from modelpad.server.observability.metrics import REQUESTS, RESTARTS, WORKERS, Snapshot
from modelpad.server.workers.actions import Action, Send
from modelpad.server.workers.collection import TIMEOUT_S, MetricsCollection
from modelpad.server.workers.messages import CollectedMetrics, RequestSnapshot


def counted(requests: int) -> Snapshot:
    return Snapshot(counters={REQUESTS: [((), requests)]}, gauges={WORKERS: [((), 1)]})


def total(actions: list[Action], name: str = REQUESTS) -> int:
    (action,) = actions
    assert isinstance(action, Send)
    assert isinstance(action.message, CollectedMetrics)
    counters = [each.counters.get(name, []) for each in action.message.snapshots]
    return sum(count for samples in counters for _, count in samples)


def gauge(actions: list[Action]) -> float:
    (action,) = actions
    assert isinstance(action, Send)
    assert isinstance(action.message, CollectedMetrics)
    gauges = [each.gauges.get(WORKERS, []) for each in action.message.snapshots]
    return sum(value for samples in gauges for _, value in samples)


def test_the_others_are_asked_and_added_up() -> None:
    collection = MetricsCollection()
    assert collection.start(1, [1, 2, 3], 100.0) == [
        Send(2, RequestSnapshot()),
        Send(3, RequestSnapshot()),
    ]
    collection.record(2, counted(20))
    assert collection.finish([1, 2, 3], [], 100.1) == []
    collection.record(3, counted(300))
    actions = collection.finish([1, 2, 3], [], 100.1)
    assert total(actions) == 320
    assert gauge(actions) == 2
    assert collection.finish([1, 2, 3], [], 100.1) == []


def test_a_worker_that_does_not_reply_counts_with_its_latest_snapshot() -> None:
    collection = MetricsCollection()
    collection.record(2, counted(20))
    collection.start(1, [1, 2], 100.0)
    assert collection.finish([1, 2], [], 100.0 + TIMEOUT_S - 0.01) == []
    assert total(collection.finish([1, 2], [], 100.0 + TIMEOUT_S)) == 20


def test_a_worker_that_leaves_counts_without_its_gauges() -> None:
    collection = MetricsCollection()
    collection.record(2, counted(20))
    collection.start(1, [1], 100.0)
    actions = collection.finish([1], [2], 100.0)
    assert total(actions) == 20
    assert gauge(actions) == 0


def test_a_worker_that_exited_still_counts() -> None:
    collection = MetricsCollection()
    collection.record(2, counted(20))
    collection.start(1, [1, 2], 100.0)
    collection.remove_worker(2)
    actions = collection.finish([1], [], 100.0)
    assert total(actions) == 20
    assert gauge(actions) == 0


def test_the_asker_is_not_counted_twice() -> None:
    collection = MetricsCollection()
    collection.record(1, counted(1))
    collection.start(1, [1], 100.0)
    assert total(collection.finish([], [1], 100.0)) == 0


def test_restarts_are_counted() -> None:
    collection = MetricsCollection()
    collection.restarts = 3
    collection.start(1, [1], 100.0)
    assert total(collection.finish([1], [], 100.0), RESTARTS) == 3
