"""Metrics of one process and of several: what is counted, added up and rendered."""

from __future__ import annotations

import msgspec
import pytest

from modelpad.engine import BatchRecord
from modelpad.server.observability.metrics import (
    BUCKETS_S,
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    PREDICTION,
    QUEUE_LENGTH,
    Metrics,
    ModelCounts,
    Snapshot,
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3")


def render(metrics: Metrics) -> list[str]:
    return metrics.render({}).decode().splitlines()


def samples(metrics: Metrics, name: str) -> list[str]:
    return [line for line in render(metrics) if line.startswith(name)]


def count_something(metrics: Metrics) -> None:
    metrics.count_request(model="a", endpoint="/predict", status=200)
    metrics.count_key("ann")
    metrics.observe_prediction(0.3, model="a")
    metrics.observe_batch(BatchRecord(4, (0.1, 0.2), 0.01, 0.5, 0.02, 1), model="a", version=2)


def test_a_histogram_is_cumulative_and_its_bounds_are_inclusive(metrics: Metrics) -> None:
    for seconds in (0.001, 0.0011, 0.25, 99.0):
        metrics.observe_prediction(seconds, model="a")
    counts = {
        line.partition('le="')[2].partition('"')[0]: int(line.rpartition(" ")[2])
        for line in samples(metrics, f"{PREDICTION}_bucket")
    }
    assert list(counts) == [*(f"{bound:g}" for bound in BUCKETS_S), "+Inf"]
    assert (counts["0.001"], counts["0.0025"], counts["0.1"]) == (1, 2, 2)
    assert (counts["0.25"], counts["10"], counts["+Inf"]) == (3, 3, 4)
    assert samples(metrics, f"{PREDICTION}_count") == [f'{PREDICTION}_count{{model="a"}} 4']
    assert samples(metrics, f"{PREDICTION}_sum") == [f'{PREDICTION}_sum{{model="a"}} 99.2521']


def test_every_metric_is_described_even_before_it_is_counted(metrics: Metrics) -> None:
    lines = render(metrics)
    for kind, names in (("counter", COUNTERS), ("gauge", GAUGES), ("histogram", HISTOGRAMS)):
        for name in names:
            place = lines.index(f"# TYPE {name} {kind}")
            assert lines[place - 1].startswith(f"# HELP {name} ")
    assert 'modelpad_info{version="1.2.3"} 1' in lines


def test_the_served_versions_are_shown(metrics: Metrics) -> None:
    assert b'modelpad_model_version{model="digits"} 7\n' in metrics.render({"digits": 7})


def test_labels_are_escaped(metrics: Metrics) -> None:
    metrics.count_key('a"b\\c\nd')
    assert r'modelpad_key_requests_total{key="a\"b\\c\nd"} 1' in render(metrics)


def test_requests_without_a_key_have_no_series(metrics: Metrics) -> None:
    metrics.count_key("")
    assert samples(metrics, "modelpad_key_requests_total") == []


def test_a_versions_totals_come_from_its_batches(metrics: Metrics) -> None:
    count_something(metrics)
    metrics.observe_batch(BatchRecord(2, (0.3,), 0.01, 0.25, 0.02), model="a", version=2)
    counts = metrics.count_of("a", 2)
    assert (counts.requests, counts.failures, counts.items, counts.batches) == (3, 1, 6, 2)
    assert (counts.queue_s, counts.phases.inference_s) == pytest.approx((0.6, 1.25))
    assert counts.seconds == pytest.approx(0.6 + 0.03 + 1.25 + 0.06)
    assert metrics.count_of("a", 1) == ModelCounts()


def test_requests_that_share_a_batch_each_count_its_time(metrics: Metrics) -> None:
    """Else a client that takes averages finds a request shorter than its parts."""
    worker = Metrics("1.2.3")
    worker.observe_batch(BatchRecord(4, (0.5,) * 4, 0.0, 1.0, 0.25), model="a", version=2)
    worker.observe_batch(BatchRecord(4, (), 0.0, 1.0, 0.0), model="a", version=2)  # a later chunk
    metrics.add(worker.snapshot())
    counts = metrics.count_of("a", 2)
    assert (counts.requests, counts.batches, counts.items) == (4, 2, 8)
    assert (counts.phases.inference_s, counts.phases.encode_s) == (5.0, 1.0)
    assert counts.seconds == 8.0


def test_the_snapshots_of_several_workers_add_up(metrics: Metrics) -> None:
    workers = [Metrics("1.2.3") for _ in range(3)]
    for worker in workers[:2]:
        count_something(worker)
    workers[2].count_request(model="a", endpoint="/predict", status=500)
    for worker in workers:
        metrics.add(worker.snapshot({QUEUE_LENGTH: {(("model", "a"),): 2}}))
    requests = 'modelpad_requests_total{endpoint="/predict",model="a",status='
    assert samples(metrics, "modelpad_requests_total") == [
        f'{requests}"200"}} 2',
        f'{requests}"500"}} 1',
    ]
    assert samples(metrics, QUEUE_LENGTH) == [f'{QUEUE_LENGTH}{{model="a"}} 6']
    assert metrics.count_of("a", 2).items == 8
    assert samples(metrics, f"{PREDICTION}_count") == [f'{PREDICTION}_count{{model="a"}} 2']
    assert f'{PREDICTION}_bucket{{model="a",le="0.25"}} 0' in render(metrics)
    assert f'{PREDICTION}_bucket{{model="a",le="0.5"}} 2' in render(metrics)


def test_the_latest_inference_counts(metrics: Metrics) -> None:
    labels = (("model", "a"), ("version", "1"))
    for when in (10.0, 30.0, 20.0):
        metrics.add(Snapshot(last=[(labels, when)]))
    assert metrics.count_of("a", 1).last == 30.0


def test_a_snapshot_is_what_it_was_after_a_way_between_processes(metrics: Metrics) -> None:
    count_something(metrics)
    sent = msgspec.msgpack.encode(metrics.snapshot({QUEUE_LENGTH: {(): 1.0}}))
    copy = Metrics("1.2.3")
    copy.add(msgspec.msgpack.decode(sent, type=Snapshot))
    metrics.add(Snapshot(gauges={QUEUE_LENGTH: [((), 1.0)]}))
    assert render(copy) == render(metrics)


def test_adding_a_snapshot_leaves_it_as_it_is(metrics: Metrics) -> None:
    other = Metrics("1.2.3")
    count_something(other)
    snapshot = other.snapshot()
    before = msgspec.msgpack.encode(snapshot)
    metrics.add(snapshot)
    count_something(metrics)
    assert msgspec.msgpack.encode(snapshot) == before


def test_what_was_never_counted_is_left_out_of_a_snapshot(metrics: Metrics) -> None:
    metrics.count_call("ModelInfer", "OK")
    assert metrics.snapshot() == Snapshot(
        counters={"modelpad_grpc_calls_total": [((("code", "OK"), ("method", "ModelInfer")), 1)]}
    )
