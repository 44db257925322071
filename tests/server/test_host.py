"""The models of a process: readiness, finding one, its snapshot, its background tasks."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from modelpad.errors import ModelNotFound, NotFound, NotReady
from modelpad.server.host import ModelHost
from modelpad.server.model_table import ModelTable
from modelpad.server.observability.metrics import GRAPHS_OPEN, QUEUE_LENGTH, Snapshot


def make_model(name: str = "digits", *, stuck: bool = False) -> Any:
    session = SimpleNamespace(is_described=True, is_open=True)
    batcher = SimpleNamespace(session=session, waiting=3, is_stuck=stuck, observe=None)
    batcher.close = lambda: None
    batcher.join = lambda seconds: None
    return SimpleNamespace(name=name, version=1, batcher=batcher, text=None)


def test_it_is_ready_between_loading_and_stopping() -> None:
    host = ModelHost()
    with pytest.raises(NotReady, match="loaded"):
        host.require_ready()
    host.models = ModelTable([])
    assert host.is_ready
    host.stopping = True
    with pytest.raises(NotReady, match="stopping"):
        host.require_ready()
    assert not host.is_ready


def test_only_a_missing_name_means_the_only_model() -> None:
    """An empty one, as gRPC clients may send, is the name of no model."""
    host = ModelHost(ModelTable([make_model()]))
    assert asyncio.run(host.find(None)).name == "digits"
    with pytest.raises(ModelNotFound):
        asyncio.run(host.find(""))


def test_models_that_hang_are_named() -> None:
    host = ModelHost(ModelTable([make_model("a"), make_model("b", stuck=True)]))
    assert host.stalled_models() == "b version 1"
    assert ModelHost().stalled_models() == ""


def test_a_snapshot_has_the_gauges_of_now() -> None:
    gauges = ModelHost(ModelTable([make_model()])).snapshot().gauges
    assert gauges[QUEUE_LENGTH] == [((("model", "digits"),), 3)]
    assert gauges[GRAPHS_OPEN] == [((("model", "digits"), ("version", "1")), 1)]


def test_the_metrics_of_all_workers_are_added_up() -> None:
    class Channel:
        async def run_command(self, action: str, name: str) -> None:
            raise AssertionError

        async def collect(self, own: Snapshot) -> list[Snapshot]:
            return [own]

        async def close(self, own: Snapshot) -> None:
            raise AssertionError

    host = ModelHost(ModelTable([make_model()]))
    host.metrics.observe_prediction(0.5, model="digits")
    host.channel = Channel()
    text = asyncio.run(host.aggregate_metrics()).render({}).decode()
    assert 'modelpad_prediction_seconds_count{model="digits"} 2' in text
    assert "modelpad_workers 2" in text


def test_models_without_a_store_cannot_be_loaded() -> None:
    with pytest.raises(NotFound):
        asyncio.run(ModelHost(ModelTable([])).override("load", "digits"))


def test_stopping_cancels_what_runs_in_the_background() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def live() -> None:
        host = ModelHost(ModelTable([make_model()]))
        host.spawn(work())
        await asyncio.sleep(0)
        await host.stop()
        await asyncio.sleep(0)

    asyncio.run(live())
    assert ended == [True]
