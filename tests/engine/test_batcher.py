"""The batcher: a bounded queue, a time limit, batches on threads or on the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from modelpad.bundle import Bundle
from modelpad.engine import Batcher, BatchLimits, BatchRecord, QueueLimits, Session
from modelpad.errors import DeadlineExceeded, InvalidInput, ModelFailed, NotReady, Overloaded

Until = Callable[[Callable[[], object]], Awaitable[None]]


class SlowSession(Session):
    """A real session whose predictions wait for `go`."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.started, self.go = threading.Event(), threading.Event()

    def predict(self, batch: Mapping[str, Any], run: Any = None) -> dict[str, Any]:
        self.started.set()
        self.go.wait(10)
        return super().predict(batch, run)


def test_a_full_queue_and_a_late_prediction_are_errors(digits: Bundle, until: Until) -> None:
    session = SlowSession(digits)
    values = session.bundle.sample_values(digits.manifest.samples[3].inputs)
    batcher = Batcher(session, limits=QueueLimits(max_length=2, timeout_s=0.2))

    async def ask() -> None:
        first = [asyncio.create_task(batcher.answer(values)) for _ in range(2)]
        await until(lambda: batcher.waiting == 2)
        with pytest.raises(Overloaded) as refused:
            await batcher.answer(values)
        assert refused.value.details["retry_after_s"] == 1
        for task in first:
            with pytest.raises(DeadlineExceeded):
                await task
        session.go.set()
        await until(lambda: not batcher.waiting)
        assert label_of(await batcher.answer(values)) == "3"

    asyncio.run(ask())
    batcher.close()


def test_a_queue_that_takes_longer_than_the_timeout_is_full(digits: Bundle, until: Until) -> None:
    session = SlowSession(digits)
    values = session.bundle.sample_values(digits.manifest.samples[3].inputs)
    limits = QueueLimits(max_length=100, timeout_s=10.0)
    batcher = Batcher(session, limits=limits, batches=BatchLimits(1))

    async def ask() -> None:
        measured = asyncio.create_task(batcher.answer(values))
        await until(session.started.is_set)
        await asyncio.sleep(0.4)  # the least that it takes
        session.go.set()
        await measured
        session.go.clear()
        waiting = []
        while not batcher.is_full:
            waiting.append(asyncio.create_task(batcher.answer(values)))
            await until(lambda: batcher.waiting == len(waiting))
        assert 1 <= len(waiting) <= 21  # 0.4 s each or more, in 80 % of 10 s
        with pytest.raises(Overloaded, match=r"requests, for \d+ s"):
            await batcher.answer(values)
        session.go.set()
        await asyncio.gather(*waiting)
        assert batcher.wait_s == 0

    asyncio.run(ask())
    batcher.close()


def label_of(answer: Any) -> str:
    return str(answer["label"]["label"])


def read_samples(session: Session) -> list[dict[str, object]]:
    return [session.bundle.sample_values(each.inputs) for each in session.bundle.manifest.samples]


def test_under_load_requests_run_together(digits: Bundle, until: Until) -> None:
    session = SlowSession(digits)
    values = read_samples(session)
    records: list[BatchRecord] = []
    batcher = Batcher(session, batches=BatchLimits(8), observe=records.append)

    async def ask() -> list[Any]:
        first = asyncio.create_task(batcher.answer(values[0]))
        await until(session.started.is_set)
        rest = [asyncio.create_task(batcher.answer(each)) for each in values[1:]]
        await until(lambda: batcher.waiting == 10)
        session.go.set()
        return await asyncio.gather(first, *rest)

    answers = asyncio.run(ask())
    assert [answer["label"]["label"] for answer in answers] == list("0123456789")
    assert [record.items for record in records] == [1, 8, 1]
    assert all(len(record.queue_s) == record.items for record in records)
    batcher.close()


def test_one_bad_request_fails_alone(digits: Bundle, until: Until) -> None:
    session = SlowSession(digits)
    values = read_samples(session)
    batcher = Batcher(session)

    async def ask() -> list[Any]:
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(batcher.answer(values[0]))]
        await until(session.started.is_set)
        tasks.append(asyncio.create_task(batcher.answer({"image": b"no picture"})))
        wrong: dict[str, Any] = {"image": np.zeros((2, 5, 5), np.float32)}
        tasks.append(asyncio.create_task(batcher.run(wrong)))
        tasks += [asyncio.create_task(batcher.answer(values[number])) for number in (4, 5)]
        await until(lambda: batcher.waiting == 5)
        session.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, picture, shape, fourth, fifth = asyncio.run(ask())
    assert isinstance(picture, InvalidInput)
    assert isinstance(shape, ModelFailed)
    assert [one["label"]["label"] for one in (first, fourth, fifth)] == ["0", "4", "5"]
    batcher.close()


def test_tensors_return_to_their_callers(digits: Bundle) -> None:
    session = Session(digits)
    batcher = Batcher(session, threads=2)
    rng = np.random.default_rng(0)

    async def ask() -> None:
        inputs = [rng.uniform(0, 255, (n, 28, 28)).astype(np.float32) for n in (3, 1, 5, 2)]
        outputs = await asyncio.gather(*(batcher.run({"image": each}) for each in inputs))
        for given, answer in zip(inputs, outputs, strict=True):
            expected = session.predict({"image": given})["label"].astype(np.float64)
            np.testing.assert_allclose(answer["label"].astype(np.float64), expected, atol=1e-6)

    asyncio.run(ask())
    batcher.close()


def test_a_cancelled_request_does_not_run(digits: Bundle, until: Until) -> None:
    session = SlowSession(digits)
    values = read_samples(session)
    records: list[BatchRecord] = []
    batcher = Batcher(session, observe=records.append)

    async def ask() -> None:
        first = asyncio.create_task(batcher.answer(values[0]))
        await until(session.started.is_set)
        left = asyncio.create_task(batcher.answer(values[1]))
        await until(lambda: batcher.waiting == 2)
        left.cancel()
        await until(lambda: batcher.waiting == 1)
        session.go.set()
        await first
        assert await batcher.drain(5)

    asyncio.run(ask())
    assert [record.items for record in records] == [1]
    batcher.close()


def test_closing_fails_queued_requests(digits: Bundle, until: Until) -> None:
    session = SlowSession(digits)
    values = read_samples(session)
    batcher = Batcher(session)

    async def ask() -> None:
        tasks = [asyncio.create_task(batcher.answer(values[0]))]
        await until(session.started.is_set)
        tasks.append(asyncio.create_task(batcher.answer(values[1])))
        await until(lambda: batcher.waiting == 2)
        batcher.close()
        with pytest.raises(NotReady):
            await tasks[1]
        session.go.set()
        assert label_of(await tasks[0]) == "0"
        with pytest.raises(NotReady):
            await batcher.answer(values[0])

    asyncio.run(ask())


def test_batches_on_the_event_loop(digits: Bundle) -> None:
    """Requests that arrive together run together, in order, and an invalid one fails alone."""
    threads: set[int] = set()

    class Watched(Session):
        def predict(self, batch: Mapping[str, Any], run: Any = None) -> dict[str, Any]:
            threads.add(threading.get_ident())
            return super().predict(batch, run)

    records: list[BatchRecord] = []
    batcher = Batcher(Watched(digits), batches=BatchLimits(4), observe=records.append)
    batcher.inline = True
    pictures = [digits.path(f"samples/{digit}.png").read_bytes() for digit in range(10)]

    async def ask() -> None:
        good = [batcher.answer({"image": picture}) for picture in pictures]
        answers = await asyncio.gather(
            *good, batcher.answer({"image": b"no picture"}), return_exceptions=True
        )
        assert [label_of(answer) for answer in answers[:10]] == list("0123456789")
        assert isinstance(answers[10], InvalidInput)

    asyncio.run(ask())
    batcher.close()
    assert threads == {threading.get_ident()}
    assert [record.items for record in records] == [4, 4, 2]


def test_a_batch_too_slow_for_the_loop_returns_to_the_threads(
    digits: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(digits)
    monkeypatch.setattr("modelpad.engine.batcher.MAX_INLINE_S", 0.0)
    batcher = Batcher(session, batches=BatchLimits(2))
    batcher.inline = True
    values = {"image": digits.path("samples/3.png").read_bytes()}

    async def ask() -> None:
        answers = await asyncio.gather(*(batcher.answer(values) for _ in range(7)))
        assert [label_of(answer) for answer in answers] == ["3"] * 7

    asyncio.run(ask())
    assert not batcher.inline
    batcher.close()


def test_a_batch_that_waits_for_the_cpu_stays_on_the_loop(
    digits: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only CPU time counts: a shared machine may be busy with other processes."""
    elapsed_s = 0.0

    def monotonic() -> float:
        return time.monotonic() + elapsed_s

    clocks = SimpleNamespace(monotonic=monotonic, thread_time=time.thread_time)
    monkeypatch.setattr("modelpad.engine.batcher.time", clocks)

    class Delayed(Session):
        def predict(self, batch: Mapping[str, Any], run: Any = None) -> dict[str, Any]:
            nonlocal elapsed_s
            elapsed_s += 5
            return super().predict(batch, run)

    batcher = Batcher(Delayed(digits))
    batcher.inline = True
    values = {"image": digits.path("samples/3.png").read_bytes()}
    assert label_of(asyncio.run(batcher.answer(values))) == "3"
    assert batcher.inline
    batcher.close()
