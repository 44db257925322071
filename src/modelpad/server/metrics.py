"""Counters and histograms in Prometheus's text format.

Written here rather than with `prometheus_client`, whose import alone would be a fifth of the cold
start; the format is a dozen lines (https://prometheus.io/docs/instrumenting/exposition_formats/).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """What this server counts; used on the event loop's thread alone."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._requests: dict[Labels, int] = defaultdict(int)
        self._latencies: dict[Labels, list[int]] = {}
        self._latency_sums: dict[Labels, float] = defaultdict(float)

    def count_request(self, *, model: str, endpoint: str, status: int) -> None:
        """One request answered."""
        self._requests[("endpoint", endpoint), ("model", model), ("status", str(status))] += 1

    def observe_prediction(self, seconds: float, *, model: str) -> None:
        """One prediction answered, from the whole request to its answer."""
        labels = (("model", model),)
        counts = self._latencies.setdefault(labels, [0] * (len(BUCKETS_S) + 1))
        counts[bisect_left(BUCKETS_S, seconds)] += 1
        self._latency_sums[labels] += seconds

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
        lines += self._render_latencies()
        return ("\n".join(lines) + "\n").encode("utf-8")

    def _render_latencies(self) -> list[str]:
        name = "modelpad_prediction_seconds"
        lines = _describe(name, "histogram", "Seconds from the whole request to its answer.")
        for labels, counts in self._latencies.items():
            total = 0
            for bound, count in zip((*BUCKETS_S, float("inf")), counts, strict=True):
                total += count
                edge = "+Inf" if bound == float("inf") else f"{bound:g}"
                lines.append(_sample(f"{name}_bucket", (*labels, ("le", edge)), total))
            lines.append(_sample(f"{name}_sum", labels, round(self._latency_sums[labels], 9)))
            lines.append(_sample(f"{name}_count", labels, total))
        return lines


def _describe(name: str, kind: str, words: str) -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]


def _sample(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
    return f"{name}{{{inner}}} {value}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
