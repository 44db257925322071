"""Every error has a status and a code, and every metric line is one that Prometheus can read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from importlib.util import find_spec

import pytest

from modelpad import errors
from modelpad.server.errors import (
    GRPC_CODES,
    STATUSES,
    TENSOR_STATUSES,
    ErrorType,
    code_of,
    respond_error,
    respond_words,
    status_of,
)
from modelpad.server.observability.metrics import Metrics


def write_tree(kind: ErrorType, indent: str = "") -> Iterator[str]:
    """The classes below an error, in the order of their definition, as lines of a tree."""
    children = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    for child in children:
        last = child is children[-1]
        yield f"{indent}{'└──' if last else '├──'} {child.__name__}"
        yield from write_tree(child, indent + ("    " if last else "│   "))


def test_the_tree_that_is_drawn_is_that_of_the_classes() -> None:
    drawn = re.findall(r"^    ([│ ]*[├└]── \w+)", errors.__doc__ or "", re.M)
    assert drawn == [*write_tree(errors.ModelpadError)]


def walk_errors(kind: ErrorType = errors.ModelpadError) -> Iterator[ErrorType]:
    """The error tree, from its root."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from walk_errors(child)


KINDS = list(dict.fromkeys(walk_errors()))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status(kind: ErrorType) -> None:
    """Its own entry in each protocol's table: a new error needs a decision."""
    assert kind in STATUSES, "give it a status in server/errors.py"
    assert kind in TENSOR_STATUSES
    assert kind in GRPC_CODES, "give it a gRPC code in server/errors.py"
    error = kind("x", extra="y") if kind is errors.MissingExtra else kind("What.", hint="Do.")
    assert respond_error(error).status == STATUSES[kind]
    assert respond_words(error, error.words).status == TENSOR_STATUSES[kind]
    assert code_of(error) == GRPC_CODES[kind]


@pytest.mark.parametrize("table", [STATUSES, TENSOR_STATUSES, GRPC_CODES])
def test_every_entry_is_of_the_tree(table: dict[ErrorType, object]) -> None:
    assert set(table) == set(KINDS)


def test_only_failures_of_the_server_are_500() -> None:
    """Clients may not be told that what they sent broke the server, nor the reverse."""
    internal = {kind for kind, status in STATUSES.items() if status >= 500}
    ours = {kind for kind, code in GRPC_CODES.items() if code in ("INTERNAL", "UNAVAILABLE")}
    full = {errors.FeedbackFull, errors.CollectionFull, errors.UploadsFull}
    assert internal - {errors.DeadlineExceeded, errors.Unsupported, *full} == ours
    assert STATUSES[errors.UnknownHost] == HTTPStatus.MISDIRECTED_REQUEST
    assert TENSOR_STATUSES[errors.EmptyCanvas] == HTTPStatus.BAD_REQUEST


def test_an_error_from_elsewhere_has_its_parents_status() -> None:
    class Unforeseen(errors.TooLarge):
        """Not of the tree."""

    assert status_of(Unforeseen("x")) == STATUSES[errors.TooLarge]
    assert code_of(Unforeseen("x")) == GRPC_CODES[errors.TooLarge]


@pytest.mark.skipif(find_spec("grpc") is None, reason="grpcio is not installed")
def test_the_codes_are_those_of_grpc() -> None:
    import grpc

    assert {grpc.StatusCode[code] for code in GRPC_CODES.values()}


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
