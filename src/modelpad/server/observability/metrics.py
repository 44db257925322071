"""Counters and histograms in Prometheus's text format.

Written here rather than with `prometheus_client`, whose import alone would be a fifth of the cold
start; the format is a dozen lines (https://prometheus.io/docs/instrumenting/exposition_formats/).

A process's metrics are a `Snapshot`, and snapshots can be added: that is how several workers act
as one server.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from modelpad.engine import BatchRecord
    from modelpad.engine.text import StepRecord

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_LABELS = 1024  # cached
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

Labels = tuple[tuple[str, str], ...]

REQUESTS = "modelpad_requests_total"
VERSION_FAILURES = "modelpad_version_failures_total"
CALLS = "modelpad_grpc_calls_total"
KEYS = "modelpad_key_requests_total"
KEY_FAILURES = "modelpad_key_failures_total"
SHADOWS = "modelpad_shadow_total"
FAILURES = "modelpad_inference_failures_total"
RESTARTS = "modelpad_worker_restarts_total"
FEEDBACK = "modelpad_feedback_total"
TOKENS = "modelpad_tokens_total"
COUNTERS = {
    REQUESTS: "HTTP requests, by status.",
    VERSION_FAILURES: "Versions that failed to load.",
    CALLS: "gRPC calls, by their status code.",
    KEYS: "Requests by the API key's name.",
    KEY_FAILURES: "Requests without a valid API key: missing, wrong, or limited.",
    SHADOWS: "Predictions of shadow versions, by how they compare.",
    FAILURES: "Requests that failed in their batch: a wrong input, or a model that raised.",
    RESTARTS: "Workers replaced after they died, hung or used too much memory.",
    FEEDBACK: "Predictions that people confirmed or corrected.",
    TOKENS: "Tokens of language models: read, remembered (so not read again), or written.",
}
QUEUE_LENGTH = "modelpad_queue_length"
GRAPHS_OPEN = "modelpad_graphs_open"
WORKERS = "modelpad_workers"
GAUGES = {
    WORKERS: "Worker processes.",
    QUEUE_LENGTH: "Requests queued or running.",
    GRAPHS_OPEN: "Workers that have a version's graph in memory.",
}
QUEUE = "modelpad_queue_seconds"
PREPARATION = "modelpad_preparation_seconds"
INFERENCE = "modelpad_inference_seconds"
ENCODING = "modelpad_encoding_seconds"
PREDICTION = "modelpad_prediction_seconds"
ITEMS = "modelpad_batch_items"
FIRST_TOKEN = "modelpad_first_token_seconds"
HISTOGRAMS = {
    QUEUE: ("Seconds a request was queued.", BUCKETS_S),
    PREPARATION: ("Seconds to decode a batch.", BUCKETS_S),
    INFERENCE: ("Seconds to run a batch through the graph.", BUCKETS_S),
    ENCODING: ("Seconds to encode a batch's outputs.", BUCKETS_S),
    PREDICTION: ("Seconds from a complete request to its response, without sending it.", BUCKETS_S),
    ITEMS: ("Items in a batch.", SIZES),
    FIRST_TOKEN: ("Seconds from a request to the first token written.", BUCKETS_S),
}


class Phases(msgspec.Struct):
    """The seconds of a version's batches, summed over the requests in each.

    Two requests in a batch of one second count two seconds: each of them took that long.
    """

    prepare_s: float = 0.0
    inference_s: float = 0.0
    encode_s: float = 0.0

    def add(self, other: Phases | BatchRecord, requests: int = 1) -> None:
        """Adds the times of a batch of that many requests, or another process's."""
        self.prepare_s += other.prepare_s * requests
        self.inference_s += other.inference_s * requests
        self.encode_s += other.encode_s * requests


class ModelCounts(msgspec.Struct):
    """One version's totals since the start; times in seconds, `last` since the epoch."""

    requests: int = 0
    failures: int = 0
    items: int = 0
    batches: int = 0
    queue_s: float = 0.0
    phases: Phases = msgspec.field(default_factory=Phases)
    last: float = 0.0

    @property
    def seconds(self) -> float:
        """Queueing, preparation, inference and encoding together."""
        phases = self.phases
        return self.queue_s + phases.prepare_s + phases.inference_s + phases.encode_s


class Series(msgspec.Struct):
    """One histogram for one set of labels: counts by bucket, the last unbounded."""

    buckets: list[int]
    total: float = 0.0

    @property
    def count(self) -> int:
        """The number of observations."""
        return sum(self.buckets)


class Snapshot(msgspec.Struct):
    """The metrics of one process, as plain values that msgspec can encode.

    `gauges` are current values; those of several processes are added up.
    """

    counters: dict[str, list[tuple[Labels, int]]] = msgspec.field(default_factory=dict)
    histograms: dict[str, list[tuple[Labels, Series]]] = msgspec.field(default_factory=dict)
    last: list[tuple[Labels, float]] = msgspec.field(default_factory=list)
    phases: list[tuple[Labels, Phases]] = msgspec.field(default_factory=list)
    gauges: dict[str, list[tuple[Labels, float]]] = msgspec.field(default_factory=dict)


class Metrics:
    """Counters, histograms and gauges; used on the event loop's thread only."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._counters: dict[str, dict[Labels, int]] = {name: defaultdict(int) for name in COUNTERS}
        self._histograms: dict[str, dict[Labels, Series]] = {name: {} for name in HISTOGRAMS}
        self._last: dict[Labels, float] = {}
        self._phases: dict[Labels, Phases] = defaultdict(Phases)
        self._gauges: dict[str, dict[Labels, float]] = {name: defaultdict(int) for name in GAUGES}

    def count_request(self, *, model: str, endpoint: str, status: int) -> None:
        """Counts an HTTP request."""
        self._counters[REQUESTS][label_request(endpoint, model, status)] += 1

    def observe_prediction(self, seconds: float, *, model: str) -> None:
        """Counts a prediction, and its time from a complete request to its response."""
        self._observe(PREDICTION, seconds, label_model(model))

    def observe_batch(self, record: BatchRecord, *, model: str, version: int) -> None:
        """Counts a batch run by a model's engine."""
        labels = name_version(model, version)
        for seconds in record.queue_s:
            self._observe(QUEUE, seconds, labels)
        self._observe(PREPARATION, record.prepare_s, labels)
        self._observe(INFERENCE, record.inference_s, labels)
        self._observe(ENCODING, record.encode_s, labels)
        self._observe(ITEMS, record.items, labels)
        self._phases[labels].add(record, max(1, len(record.queue_s)))  # none: a later chunk
        self._last[labels] = time.time()
        if record.failures:
            self._counters[FAILURES][labels] += record.failures

    def observe_text(self, record: StepRecord, *, model: str, version: int) -> None:
        """Counts the tokens of a step of a language model."""
        for kind, count in (
            ("read", record.read),
            ("remembered", record.remembered),
            ("written", record.written),
        ):
            if count:
                labels = (("kind", kind), ("model", model), ("version", str(version)))
                self._counters[TOKENS][labels] += count
        for seconds in record.first_token_s:
            self._observe(FIRST_TOKEN, seconds, name_version(model, version))

    def count_version_failure(self, *, model: str, version: int) -> None:
        """Counts a version that failed to load."""
        self._counters[VERSION_FAILURES][name_version(model, version)] += 1

    def count_call(self, method: str, code: str) -> None:
        """Counts a gRPC call."""
        self._counters[CALLS][("code", code), ("method", method)] += 1

    def count_key(self, name: str) -> None:
        """Counts a request admitted with the API key of that name."""
        if name:
            self._counters[KEYS][(("key", name),)] += 1

    def count_key_failure(self, reason: str) -> None:
        """Counts a request without a valid API key: `missing`, `wrong` or `limited`."""
        self._counters[KEY_FAILURES][(("reason", reason),)] += 1

    def count_shadow(self, result: str, *, model: str, version: int) -> None:
        """Counts a shadow's prediction: `same`, `different`, `failed` or `skipped`."""
        labels = (("model", model), ("result", result), ("version", str(version)))
        self._counters[SHADOWS][labels] += 1

    def count_feedback(self, is_right: bool, *, model: str, version: int) -> None:
        """Counts a prediction that a person confirmed, or corrected."""
        result = "right" if is_right else "wrong"
        labels = (("model", model), ("result", result), ("version", str(version)))
        self._counters[FEEDBACK][labels] += 1

    def count_of(self, model: str, version: int) -> ModelCounts:
        """The totals of one version's engine."""
        labels = name_version(model, version)
        nothing = Series([])
        queue = self._histograms[QUEUE].get(labels, nothing)
        items = self._histograms[ITEMS].get(labels, nothing)
        return ModelCounts(
            requests=queue.count,
            failures=self._counters[FAILURES].get(labels, 0),
            items=int(items.total),
            batches=items.count,
            queue_s=queue.total,
            phases=self._phases.get(labels) or Phases(),
            last=self._last.get(labels, 0.0),
        )

    def snapshot(self, gauges: Mapping[str, Mapping[Labels, float]] | None = None) -> Snapshot:
        """Everything counted so far, and the gauges' current values."""
        return Snapshot(
            {name: list(counts.items()) for name, counts in self._counters.items() if counts},
            {name: list(series.items()) for name, series in self._histograms.items() if series},
            list(self._last.items()),
            list(self._phases.items()),
            {name: list(values.items()) for name, values in (gauges or {}).items()},
        )

    def add(self, other: Snapshot) -> None:
        """Adds the metrics of another process."""
        for name, counts in other.counters.items():
            for labels, count in counts:
                self._counters[name][labels] += count
        for name, histogram in other.histograms.items():
            for labels, series in histogram:
                mine = self._series(name, labels)
                mine.total += series.total
                for place, count in enumerate(series.buckets):
                    mine.buckets[place] += count
        for labels, when in other.last:
            self._last[labels] = max(when, self._last.get(labels, 0.0))
        for labels, phases in other.phases:
            self._phases[labels].add(phases)
        for name, values in other.gauges.items():
            for labels, value in values:
                self._gauges[name][labels] += value

    def render(self, models: Mapping[str, int]) -> bytes:
        """The text that Prometheus scrapes; `models` are the versions served."""
        lines: list[str] = []
        served = [((("model", name),), version) for name, version in models.items()]
        gauges: list[tuple[str, str, Iterable[tuple[Labels, float]]]] = [
            ("modelpad_info", "The version of modelpad.", [((("version", self._version),), 1)]),
            ("modelpad_model_version", "The version served of each model.", served),
            (
                "modelpad_last_inference_timestamp_seconds",
                "When a version last ran, since the epoch.",
                self._last.items(),
            ),
        ]
        gauges += [(name, words, self._gauges[name].items()) for name, words in GAUGES.items()]
        for name, words, samples in gauges:
            lines += _describe(name, "gauge", words)
            lines += [_sample(name, labels, value) for labels, value in samples]
        for name, words in COUNTERS.items():
            lines += _describe(name, "counter", words)
            lines += [_sample(name, *each) for each in self._counters[name].items()]
        for name, (words, bounds) in HISTOGRAMS.items():
            lines += _describe(name, "histogram", words)
            for labels, series in self._histograms[name].items():
                lines += _sample_series(name, labels, series, bounds)
        return ("\n".join(lines) + "\n").encode("utf-8")

    def _observe(self, name: str, value: float, labels: Labels) -> None:
        series = self._series(name, labels)
        series.buckets[bisect_left(HISTOGRAMS[name][1], value)] += 1
        series.total += value

    def _series(self, name: str, labels: Labels) -> Series:
        series = self._histograms[name].get(labels)
        if series is None:
            series = self._histograms[name][labels] = Series([0] * (len(HISTOGRAMS[name][1]) + 1))
        return series


@lru_cache(maxsize=MAX_LABELS)
def label_request(endpoint: str, model: str, status: int) -> Labels:
    """The labels of an HTTP request."""
    return (("endpoint", endpoint), ("model", model), ("status", str(status)))


@lru_cache(maxsize=MAX_LABELS)
def label_model(model: str) -> Labels:
    """The label of a model."""
    return (("model", model),)


@lru_cache(maxsize=MAX_LABELS)
def name_version(model: str, version: int) -> Labels:
    """The labels of one version."""
    return (("model", model), ("version", str(version)))


def _describe(name: str, kind: str, words: str) -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]


def _sample_series(
    name: str, labels: Labels, series: Series, bounds: tuple[float, ...]
) -> list[str]:
    lines = []
    total = 0
    for bound, count in zip((*bounds, float("inf")), series.buckets, strict=True):
        total += count
        edge = "+Inf" if bound == float("inf") else f"{bound:g}"
        lines.append(_sample(f"{name}_bucket", (*labels, ("le", edge)), total))
    lines.append(_sample(f"{name}_sum", labels, round(series.total, 9)))
    lines.append(_sample(f"{name}_count", labels, total))
    return lines


def _sample(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
    return f"{name}{{{inner}}} {value}" if labels else f"{name} {value}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
