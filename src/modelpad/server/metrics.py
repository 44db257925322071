"""Counters and histograms in Prometheus's text format.

Written here rather than with `prometheus_client`, whose import alone would be a fifth of the cold
start; the format is a dozen lines (https://prometheus.io/docs/instrumenting/exposition_formats/).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelpad.engine import BatchRecord

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class ModelCounts:
    """What one model's engine did since the start; times in seconds, `last` since the epoch."""

    requests: int = 0
    failures: int = 0
    items: int = 0
    batches: int = 0
    queue_s: float = 0.0
    prepare_s: float = 0.0
    inference_s: float = 0.0
    encode_s: float = 0.0
    last: float = 0.0

    @property
    def seconds(self) -> float:
        """All that requests waited for and cost."""
        return self.queue_s + self.prepare_s + self.inference_s + self.encode_s


class Histogram:
    """Counts in buckets of fixed bounds, by labels."""

    def __init__(self, name: str, words: str, bounds: tuple[float, ...]) -> None:
        self.name, self.words, self.bounds = name, words, bounds
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = defaultdict(float)

    def observe(self, value: float, labels: Labels) -> None:
        """One value."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self.bounds) + 1)
        counts[bisect_left(self.bounds, value)] += 1
        self._sums[labels] += value

    def render(self) -> list[str]:
        """The lines that Prometheus reads."""
        lines = _describe(self.name, "histogram", self.words)
        for labels, counts in self._counts.items():
            total = 0
            for bound, count in zip((*self.bounds, float("inf")), counts, strict=True):
                total += count
                edge = "+Inf" if bound == float("inf") else f"{bound:g}"
                lines.append(_sample(f"{self.name}_bucket", (*labels, ("le", edge)), total))
            lines.append(_sample(f"{self.name}_sum", labels, round(self._sums[labels], 9)))
            lines.append(_sample(f"{self.name}_count", labels, total))
        return lines


class Metrics:
    """What this server counts; used on the event loop's thread alone."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._requests: dict[Labels, int] = defaultdict(int)
        self._latency = Histogram(
            "modelpad_prediction_seconds",
            "Seconds from the whole request to its answer.",
            BUCKETS_S,
        )
        self._phases = {
            "queue": Histogram("modelpad_queue_seconds", "Seconds a request waited.", BUCKETS_S),
            "prepare": Histogram(
                "modelpad_preparation_seconds", "Seconds a batch was decoded for.", BUCKETS_S
            ),
            "inference": Histogram(
                "modelpad_inference_seconds", "Seconds a batch ran in the graph.", BUCKETS_S
            ),
            "encode": Histogram(
                "modelpad_encoding_seconds", "Seconds a batch's answers were encoded.", BUCKETS_S
            ),
        }
        self._batch_items = Histogram("modelpad_batch_items", "Items that ran at once.", SIZES)
        self._version_failures: dict[Labels, int] = defaultdict(int)
        self._calls: dict[Labels, int] = defaultdict(int)
        self._keys: dict[Labels, int] = defaultdict(int)
        self._shadows: dict[Labels, int] = defaultdict(int)
        self.counts: dict[tuple[str, int], ModelCounts] = {}

    def count_request(self, *, model: str, endpoint: str, status: int) -> None:
        """One request answered."""
        self._requests[("endpoint", endpoint), ("model", model), ("status", str(status))] += 1

    def observe_prediction(self, seconds: float, *, model: str) -> None:
        """One prediction answered, from the whole request to its answer."""
        self._latency.observe(seconds, (("model", model),))

    def observe_batch(self, record: BatchRecord, *, model: str, version: int) -> None:
        """One batch run by a model's engine."""
        labels = (("model", model), ("version", str(version)))
        counts = self.count_of(model, version)
        counts.requests += len(record.queue_s)
        counts.failures += record.failures
        counts.items += record.items
        counts.batches += 1
        counts.prepare_s += record.prepare_s
        counts.inference_s += record.inference_s
        counts.encode_s += record.encode_s
        counts.last = time.time()
        for seconds in record.queue_s:
            counts.queue_s += seconds
            self._phases["queue"].observe(seconds, labels)
        self._phases["prepare"].observe(record.prepare_s, labels)
        self._phases["inference"].observe(record.inference_s, labels)
        self._phases["encode"].observe(record.encode_s, labels)
        self._batch_items.observe(record.items, labels)

    def count_version_failure(self, *, model: str, version: int) -> None:
        """One version that could not be opened."""
        self._version_failures[("model", model), ("version", str(version))] += 1

    def count_call(self, method: str, code: str) -> None:
        """One gRPC call answered."""
        self._calls[("code", code), ("method", method)] += 1

    def count_key(self, name: str) -> None:
        """One request admitted with the API key of that name."""
        if name:
            self._keys[(("key", name),)] += 1

    def count_shadow(self, result: str, *, model: str, version: int) -> None:
        """One copy of a request answered by a shadow: `same`, `different` or `failed`."""
        labels = (("model", model), ("result", result), ("version", str(version)))
        self._shadows[labels] += 1

    def count_of(self, model: str, version: int) -> ModelCounts:
        """The counts of one version."""
        return self.counts.setdefault((model, version), ModelCounts())

    def render(self, *, models: dict[str, int], waiting: dict[str, int]) -> bytes:
        """The text that Prometheus scrapes; `models` are the versions served."""
        lines = _describe("modelpad_info", "gauge", "The version of modelpad.")
        lines.append(_sample("modelpad_info", (("version", self._version),), 1))
        lines += _describe("modelpad_model_version", "gauge", "The version served of each model.")
        lines += [
            _sample("modelpad_model_version", (("model", name),), version)
            for name, version in models.items()
        ]
        lines += _describe("modelpad_queue_length", "gauge", "Requests that wait or run.")
        lines += [
            _sample("modelpad_queue_length", (("model", name),), length)
            for name, length in waiting.items()
        ]
        lines += _describe("modelpad_requests_total", "counter", "Requests answered, by status.")
        lines += [
            _sample("modelpad_requests_total", labels, count)
            for labels, count in self._requests.items()
        ]
        for name, words, counts in (
            (
                "modelpad_version_failures_total",
                "Versions that stayed out.",
                self._version_failures,
            ),
            ("modelpad_grpc_calls_total", "gRPC calls, by their status code.", self._calls),
            ("modelpad_key_requests_total", "Requests by the API key's name.", self._keys),
            ("modelpad_shadow_total", "Answers of shadows, by how they compare.", self._shadows),
        ):
            lines += _describe(name, "counter", words)
            lines += [_sample(name, labels, count) for labels, count in counts.items()]
        for histogram in (*self._phases.values(), self._latency, self._batch_items):
            lines += histogram.render()
        return ("\n".join(lines) + "\n").encode("utf-8")


def _describe(name: str, kind: str, words: str) -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]


def _sample(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
    return f"{name}{{{inner}}} {value}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
