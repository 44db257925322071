"""Every error has a status, and every metric line is one that Prometheus can read."""

from __future__ import annotations

import inspect
import re

import pytest

from modelpad import errors
from modelpad.server.errors import respond_error, status_of
from modelpad.server.observability.metrics import Metrics

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.ModelpadError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status(kind: type[errors.ModelpadError]) -> None:
    error = kind("x", extra="y") if kind is errors.MissingExtra else kind("What.", hint="Do.")
    assert 400 <= status_of(error) <= 599
    assert b'"message"' in respond_error(error).body


def test_overload_says_when_to_come_back() -> None:
    error = errors.Overloaded("Full.", hint="Wait.", retry_after_s=2)
    assert respond_error(error).headers["retry-after"] == "2"


def test_metrics_are_in_prometheus_format() -> None:
    metrics = Metrics("0")
    metrics.count_request(model='a"b', endpoint="/predict", status=200)
    metrics.observe_prediction(0.003, model="a")
    metrics.observe_prediction(99.0, model="a")
    text = metrics.render({"a": 1}).decode()
    sample = re.compile(r'[a-z_]+(\{([a-z]+="(\\.|[^"\\])*",?)*\})? [0-9.e+-]+')
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(sample.fullmatch(line) for line in lines)
    assert 'modelpad_prediction_seconds_bucket{model="a",le="0.005"} 1' in lines
    assert 'modelpad_prediction_seconds_bucket{model="a",le="+Inf"} 2' in lines
