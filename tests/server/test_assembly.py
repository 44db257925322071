"""One server process, built from its options."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from modelpad.engine import LARGE_GRAPH_BYTES
from modelpad.errors import StoreError
from modelpad.server import assembly
from modelpad.server.assembly import (
    build_auth,
    build_certificate,
    build_feedback,
    build_load_options,
    build_traces,
    choose_worker_count,
)
from modelpad.server.options import (
    MB,
    FeedbackOptions,
    LimitOptions,
    ModelOptions,
    NetworkOptions,
    SecurityOptions,
    ServeOptions,
)
from modelpad.server.prefork import SharedState, prepare_shared_state

OPTIONS = ServeOptions(ModelOptions(Path("/nowhere"), Path("/nowhere")), NetworkOptions(port=0))


@pytest.fixture(autouse=True)
def four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "allotted_cpus", lambda: 4)


def test_small_models_get_a_worker_for_each_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_worker_count(LARGE_GRAPH_BYTES, "cpu") == 4
    assert choose_worker_count(LARGE_GRAPH_BYTES + 1, "cpu") == 1
    assert choose_worker_count(0, "cuda") == 1
    monkeypatch.setattr(assembly, "allotted_cpus", lambda: 64)
    assert choose_worker_count(0, "cpu") == 8


def test_workers_share_queue_memory_and_cpus() -> None:
    models = replace(OPTIONS.models, max_loaded_bytes=300 * MB)
    options = replace(OPTIONS, models=models, limits=LimitOptions(max_queue=10, timeout_s=5.0))
    load = build_load_options(options, workers=3, supervised=True)
    assert load.limits.max_length == 4  # never fewer than asked for, in all
    assert load.limits.timeout_s == 5.0
    assert load.memory is not None
    assert load.memory.limit_bytes == 100 * MB
    assert load.threads == 1


def test_batches_run_on_the_event_loop_only_where_a_supervisor_notices_a_hang() -> None:
    assert build_load_options(OPTIONS, 4, supervised=True).inline
    assert not build_load_options(OPTIONS, 4, supervised=False).inline
    assert not build_load_options(OPTIONS, 2, supervised=True).inline  # two threads each


def share(security: SecurityOptions) -> SharedState:
    shared = prepare_shared_state(replace(OPTIONS, security=security))
    shared.listener.close()
    return shared


def test_requests_are_checked_only_with_keys_or_a_rate() -> None:
    anybody, keys = SecurityOptions(), SecurityOptions("ann=12345678")
    assert build_auth(anybody, share(anybody)) is None
    auth = build_auth(keys, share(keys))
    assert auth is not None
    assert auth.wants_keys
    limited = SecurityOptions(rate_limit=1.0)
    auth = build_auth(limited, share(limited))
    assert auth is not None
    assert not auth.wants_keys


def test_certificates_and_traces_are_off_by_default() -> None:
    assert build_certificate(NetworkOptions()) is None
    certificate = build_certificate(
        NetworkOptions(certificate=Path("cert.pem"), certificate_key=Path("key.pem"))
    )
    assert certificate is not None
    assert certificate.key == Path("key.pem")
    assert build_traces("") is None


def test_feedback_is_off_by_default_and_its_place_is_checked_at_the_start(tmp_path: Path) -> None:
    assert build_feedback(FeedbackOptions()) is None
    assert build_feedback(FeedbackOptions(tmp_path / "new" / "feedback.sqlite")) is not None
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        build_feedback(FeedbackOptions(tmp_path / "file" / "feedback.sqlite"))
