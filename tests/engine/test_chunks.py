"""A large request runs in chunks, between other requests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.bundle import Bundle
from modelpad.engine import Batcher, BatchLimits, BatchRecord, QueueLimits, Session
from modelpad.errors import DeadlineExceeded, ModelFailed, NotReady
from modelpad.fields import Score, Signature, Tensor

Until = Callable[[Callable[[], object]], Awaitable[None]]


class Watched(Session):
    """Records the batches that run, and blocks in each until `go` is set.

    It fails at an item whose first number is `fails_at`.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.sizes: list[int] = []
        self.firsts: list[float] = []
        self.go = threading.Event()
        self.go.set()
        self.fails_at = -1.0

    def predict(self, batch: Mapping[str, Any], run: Any = None) -> dict[str, Any]:
        array = next(iter(batch.values()))
        self.sizes.append(len(array))
        self.firsts.append(float(array.reshape(-1)[0]))
        assert self.go.wait(10)
        if self.fails_at in array:
            raise ModelFailed("this one fails")
        return super().predict(batch, run)


def numbers(count: int, first: float = 0.0) -> dict[str, Any]:
    return {"x": np.arange(first, first + count, dtype=np.float32)}


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("count", [1, 4, 5, 8, 11])
def test_chunks_are_joined_in_order(doubler: Bundle, inline: bool, count: int) -> None:
    session = Watched(doubler)
    records: list[BatchRecord] = []
    batcher = Batcher(session, batches=BatchLimits(4), observe=records.append)
    batcher.inline = inline
    given = numbers(count)
    answer = asyncio.run(batcher.run(given))
    batcher.close()
    np.testing.assert_array_equal(answer["y"], 2 * given["x"])
    assert max(session.sizes) <= 4
    assert sum(record.items for record in records) == count
    assert sum(len(record.queue_s) for record in records) == 1  # it is one request


@pytest.mark.parametrize("inline", [False, True])
def test_other_requests_run_between_the_chunks(doubler: Bundle, until: Until, inline: bool) -> None:
    session = Watched(doubler)
    batcher = Batcher(session, batches=BatchLimits(4))
    batcher.inline = inline
    if not inline:
        session.go.clear()

    async def ask() -> int:
        large = asyncio.create_task(batcher.run(numbers(400)))
        await until(lambda: session.sizes)
        ran = len(session.sizes)
        small = asyncio.create_task(batcher.run(numbers(1, 7777.0)))
        await until(lambda: batcher.waiting == 2 or inline)
        session.go.set()
        assert (await small)["y"][0] == 2 * 7777.0
        np.testing.assert_array_equal((await large)["y"], 2 * numbers(400)["x"])
        return ran

    ran = asyncio.run(ask())
    batcher.close()
    position = session.firsts.index(7777.0)
    assert position - ran <= 4
    assert position < len(session.firsts) - 1  # the large request went on after it


def test_two_large_requests_take_turns(doubler: Bundle, until: Until) -> None:
    session = Watched(doubler)
    session.go.clear()
    batcher = Batcher(session, batches=BatchLimits(4))

    async def ask() -> None:
        both = asyncio.gather(batcher.run(numbers(40)), batcher.run(numbers(40, 1000.0)))
        await until(lambda: batcher.waiting == 2)
        session.go.set()
        await both

    asyncio.run(ask())
    batcher.close()
    turns = [first >= 1000 for first in session.firsts]
    assert turns[2:18] in ([True, False] * 8, [False, True] * 8)


def test_a_failing_chunk_fails_only_its_request(doubler: Bundle) -> None:
    session = Watched(doubler)
    session.fails_at = 9.0
    batcher = Batcher(session, batches=BatchLimits(4))

    async def ask() -> Any:
        return await asyncio.gather(
            batcher.run(numbers(40)), batcher.run(numbers(6, 100.0)), return_exceptions=True
        )

    bad, good = asyncio.run(ask())
    batcher.close()
    assert isinstance(bad, ModelFailed)
    np.testing.assert_array_equal(good["y"], 2 * numbers(6, 100.0)["x"])
    assert session.firsts[-1] < 16 or session.firsts[-1] >= 100  # nothing is run after the failure


def test_no_chunk_runs_after_the_deadline_or_a_cancellation(doubler: Bundle, until: Until) -> None:
    session = Watched(doubler)
    session.go.clear()
    batcher = Batcher(session, batches=BatchLimits(4), limits=QueueLimits(timeout_s=0.5))

    async def ask() -> None:
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(batcher.run(numbers(4000)), 5)
        session.go.set()
        for _ in range(2):
            with contextlib.suppress(DeadlineExceeded, ModelFailed):
                await batcher.run(numbers(1, 7777.0))
        assert [first for first in session.firsts if first < 7777.0] == [0.0]
        session.go.clear()
        leaving = asyncio.create_task(batcher.run(numbers(4000, 10_000.0)))
        await until(lambda: 10_000.0 in session.firsts)
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaving
        session.go.set()
        assert await batcher.drain(1)

    asyncio.run(ask())
    batcher.close()
    assert [first for first in session.firsts if first >= 10_000.0] == [10_000.0]


def test_closing_ends_a_request_between_its_chunks(doubler: Bundle, until: Until) -> None:
    session = Watched(doubler)
    session.go.clear()
    batcher = Batcher(session, batches=BatchLimits(4))

    async def ask() -> None:
        task = asyncio.create_task(batcher.run(numbers(4000)))
        await until(lambda: session.sizes)
        batcher.close()
        session.go.set()
        with pytest.raises(NotReady):
            await asyncio.wait_for(task, 2)

    asyncio.run(ask())


def test_a_fixed_batch_axis_is_not_split(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    from modelpad.bundle import Manifest, write_bundle

    def value(name: str, shape: Any) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])], "g", [value("x", [8])], [value("y", [8])]
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    signature = Signature((Tensor("x", "float32", ()),), (Score("y"),))
    manifest = Manifest(name="m", task="test", title="m", signature=signature)
    session = Watched(write_bundle(tmp_path / "m", manifest, {"model.onnx": model}))
    batcher = Batcher(session, batches=BatchLimits(2))
    answer = asyncio.run(batcher.run(numbers(8)))
    batcher.close()
    np.testing.assert_array_equal(answer["y"], 2 * numbers(8)["x"])
    assert session.sizes == [8]


@pytest.mark.parametrize("inline", [False, True])
def test_a_graph_without_one_output_row_per_input_row_runs_whole(
    tmp_path: Path, build_bundle: Any, inline: bool
) -> None:
    """Declared with a free batch axis, it still answers fewer rows, or rows of another shape."""
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT
    nodes = [
        helper.make_node("Shape", ["x"], ["size"]),
        helper.make_node("Expand", ["x", "size"], ["wide"]),
        helper.make_node("NonZero", ["wide"], ["places"]),
        helper.make_node("Cast", ["places"], ["y"], to=kind),
    ]
    signature = Signature((Tensor("x", "float32", ()),), (Tensor("y", "float32", (None,)),))
    bundle = build_bundle(
        tmp_path, "odd", nodes, [("x", kind, [])], [("y", kind, ["many"])], signature
    )
    session = Watched(bundle)
    batcher = Batcher(session, batches=BatchLimits(4))
    batcher.inline = inline
    whole = session.predict(numbers(12, 1.0))
    session.sizes.clear()
    answer = asyncio.run(batcher.run(numbers(12, 1.0)))
    np.testing.assert_array_equal(answer["y"], whole["y"])
    assert session.sizes[-1] == 12
    assert not session.can_split
    batcher.close()


def test_an_abandoned_run_is_stopped(
    doubler: Bundle, until: Until, wait_for: Callable[..., None]
) -> None:
    """It is told to stop at its deadline, which frees its thread."""
    running = threading.Event()

    class Endless(Watched):
        def predict(self, batch: Mapping[str, Any], run: Any = None) -> dict[str, Any]:
            if float(batch["x"][0]) < 0:
                running.set()
                wait_for(lambda: run.options.terminate, 10)
                raise ModelFailed("stopped")
            return super().predict(batch, run)

    batcher = Batcher(Endless(doubler), limits=QueueLimits(timeout_s=1.0))

    async def ask() -> None:
        with pytest.raises(DeadlineExceeded):
            await batcher.run(numbers(1, -1.0))
        assert (await batcher.run(numbers(1, 3.0)))["y"][0] == 6.0  # within its own deadline
        running.clear()
        leaving = asyncio.create_task(batcher.run(numbers(1, -1.0)))
        await until(running.is_set)
        leaving.cancel()
        assert (await batcher.run(numbers(1, 3.0)))["y"][0] == 6.0

    asyncio.run(ask())
    batcher.close()
    before = threading.active_count()
    batcher.join(1)
    assert threading.active_count() <= before


def test_the_thread_survives_a_shortage_of_memory(
    doubler: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Watched(doubler)
    batcher = Batcher(session)

    async def ask() -> None:
        with monkeypatch.context() as patch:
            patch.setattr("modelpad.engine.running.group_requests", raise_memory_error)
            with pytest.raises(ModelFailed, match="memory"):
                await batcher.run(numbers(1))
        assert (await batcher.run(numbers(1, 3.0)))["y"][0] == 6.0

    asyncio.run(ask())
    batcher.close()


def raise_memory_error(*_: object) -> Any:
    raise MemoryError
