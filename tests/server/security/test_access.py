"""Who may come in: guarded endpoints, and those for admins alone; keys are counted."""

from __future__ import annotations

import pytest

from modelpad.errors import Forbidden, NotFound, RateLimited, TooManyFailures, Unauthorized
from modelpad.server.observability.metrics import Metrics
from modelpad.server.security.access import AccessControl
from modelpad.server.security.auth import ApiKeyAuth
from modelpad.server.security.rate_limits import RateLimiter

KEYS = "ann=secret-of-ann,root=secret-of-root"
ANN, ROOT = {"x-api-key": "secret-of-ann"}, {"x-api-key": "secret-of-root"}
SLOW = 1e-9  # tokens a second: none comes back during a test


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1")


def count_of(metrics: Metrics, sample: str) -> int:
    for line in metrics.render({}).decode().splitlines():
        if line.startswith(f"{sample} "):
            return int(line.rpartition(" ")[2])
    return 0


def test_without_keys_everybody_may_come_in(metrics: Metrics) -> None:
    for access in (AccessControl(metrics), AccessControl(metrics, ApiKeyAuth())):
        assert not access.wants_keys
        access.admit({})


def test_with_keys_a_valid_one_is_needed_and_counted(metrics: Metrics) -> None:
    access = AccessControl(metrics, ApiKeyAuth(KEYS))
    assert access.wants_keys
    access.admit(ANN)
    access.admit(ANN)
    with pytest.raises(Unauthorized, match="required"):
        access.admit({})
    with pytest.raises(Unauthorized, match="Unknown"):
        access.admit({"x-api-key": "guessed"})
    assert count_of(metrics, 'modelpad_key_requests_total{key="ann"}') == 2
    assert count_of(metrics, 'modelpad_key_failures_total{reason="missing"}') == 1
    assert count_of(metrics, 'modelpad_key_failures_total{reason="wrong"}') == 1


def test_what_is_not_guarded_needs_no_key_and_counts_none(metrics: Metrics) -> None:
    access = AccessControl(metrics, ApiKeyAuth(KEYS))
    access.admit({}, guarded=False)
    access.admit(ANN, guarded=False)
    assert count_of(metrics, 'modelpad_key_requests_total{key="ann"}') == 0


def test_only_admins_may_do_what_is_for_admins(metrics: Metrics) -> None:
    access = AccessControl(metrics, ApiKeyAuth(KEYS), ["root"])
    access.admit(ROOT, admin=True)
    with pytest.raises(Forbidden):
        access.admit(ANN, admin=True)
    with pytest.raises(Unauthorized):
        access.admit({}, admin=True)
    with pytest.raises(Forbidden):
        access.admit(ROOT, guarded=False, admin=True)  # whose key it is was never checked


def test_without_admins_nobody_may(metrics: Metrics) -> None:
    with pytest.raises(NotFound, match="over the network"):
        AccessControl(metrics, ApiKeyAuth(KEYS)).admit(ROOT, admin=True)
    with pytest.raises(NotFound):
        AccessControl(metrics).admit({}, admin=True)


def test_a_client_that_guesses_is_slowed_down_alone(metrics: Metrics) -> None:
    failures = RateLimiter(SLOW, 2.0)
    access = AccessControl(metrics, ApiKeyAuth(KEYS, failures=failures))
    for _ in range(2):
        with pytest.raises(Unauthorized):
            access.admit({"x-api-key": "guessed"}, client="192.0.2.1")
    with pytest.raises(TooManyFailures):
        access.admit({"x-api-key": "guessed"}, client="192.0.2.1")
    with pytest.raises(Unauthorized):
        access.admit({"x-api-key": "guessed"}, client="192.0.2.2")
    access.admit(ANN, client="192.0.2.1")
    assert count_of(metrics, 'modelpad_key_failures_total{reason="limited"}') == 1


def test_a_request_above_the_rate_is_not_counted_as_admitted(metrics: Metrics) -> None:
    access = AccessControl(metrics, ApiKeyAuth(KEYS, rates=RateLimiter(SLOW)))
    access.admit(ANN)
    with pytest.raises(RateLimited):
        access.admit(ANN)
    access.admit(ROOT)
    assert count_of(metrics, 'modelpad_key_requests_total{key="ann"}') == 1
