"""The engine: sessions, a bounded queue, a time limit."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.bundle import Bundle, write_bundle
from modelpad.engine import (
    Batcher,
    BatchLimits,
    BatchRecord,
    QueueLimits,
    Session,
    SessionSettings,
    allotted_cpus,
    find_best_batch,
)
from modelpad.engine.calibration import find_inline_batch
from modelpad.errors import (
    BundleInvalid,
    DeadlineExceeded,
    InvalidInput,
    ModelFailed,
    NotReady,
    Overloaded,
)
from modelpad.fields import Label, Signature, Sketch


class SlowSession(Session):
    """A real session that waits until it is let go."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.go = threading.Event()

    def predict(self, batch: Mapping[str, Any], run: Any = None) -> dict[str, Any]:
        self.go.wait(10)
        return super().predict(batch, run)


def test_a_batch_is_answered_as_its_items_are(digits: Bundle) -> None:
    session = Session(digits, SessionSettings(threads=2))
    items = np.random.default_rng(1).uniform(0, 255, (7, 28, 28)).astype(np.float32)
    together = session.predict({"image": items})["label"]
    alone = [session.predict({"image": items[i : i + 1]})["label"][0] for i in range(7)]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_wrong_fields_and_shapes_are_named(digits: Bundle) -> None:
    session = Session(digits)
    with pytest.raises(InvalidInput, match="'image' is missing"):
        session.answer({})
    with pytest.raises(ModelFailed):
        session.predict({"image": np.zeros((1, 5, 5), np.float32)})
    with pytest.raises(ValueError):
        SessionSettings(threads=0)


def test_a_graph_that_is_not_the_signatures_is_refused(digits: Bundle, tmp_path: Path) -> None:
    wrong = Signature((Sketch("picture"),), (Label("label", ("a", "b")),))
    manifest = replace(digits.manifest, signature=wrong, samples=())
    bundle = write_bundle(tmp_path / "x", manifest, {"model.onnx": digits.path("model.onnx")})
    with pytest.raises(BundleInvalid, match="picture"):
        Session(bundle)
    broken = write_bundle(tmp_path / "y", manifest, {"model.onnx": b"no graph"})
    with pytest.raises(BundleInvalid, match="cannot load"):
        Session(broken)


def test_a_full_queue_and_a_late_answer_are_refused(digits: Bundle) -> None:
    session = SlowSession(digits)
    values = session.sample_values(digits.manifest.samples[3].inputs)
    batcher = Batcher(session, limits=QueueLimits(max_length=2, timeout_s=0.2))

    async def ask() -> None:
        first = [asyncio.create_task(batcher.answer(values)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await batcher.answer(values)
        assert refused.value.details["retry_after_s"] == 1
        for task in first:
            with pytest.raises(DeadlineExceeded):
                await task
        session.go.set()
        while batcher.waiting:
            await asyncio.sleep(0.01)
        assert (await batcher.answer(values))["label"]["label"] == "3"

    asyncio.run(ask())
    batcher.close()


def read_samples(session: Session) -> list[dict[str, object]]:
    return [session.sample_values(each.inputs) for each in session.bundle.manifest.samples]


def test_under_load_requests_run_together(digits: Bundle) -> None:
    session = SlowSession(digits)
    values = read_samples(session)
    records: list[BatchRecord] = []
    batcher = Batcher(session, batches=BatchLimits(8), observe=records.append)

    async def ask() -> list[Any]:
        first = asyncio.create_task(batcher.answer(values[0]))
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(batcher.answer(each)) for each in values[1:]]
        await asyncio.sleep(0.05)
        session.go.set()
        return await asyncio.gather(first, *rest)

    answers = asyncio.run(ask())
    assert [answer["label"]["label"] for answer in answers] == list("0123456789")
    assert [record.items for record in records] == [1, 8, 1]
    assert all(len(record.queue_s) == record.items for record in records)
    batcher.close()


def test_one_bad_request_fails_alone(digits: Bundle) -> None:
    session = SlowSession(digits)
    values = read_samples(session)
    batcher = Batcher(session)

    async def ask() -> list[Any]:
        tasks = [asyncio.create_task(batcher.answer(values[0]))]
        await asyncio.sleep(0.02)
        tasks.append(asyncio.create_task(batcher.answer({"image": b"no picture"})))
        wrong = {"image": np.zeros((2, 5, 5), np.float32)}
        tasks.append(asyncio.create_task(batcher.run(wrong)))
        tasks += [asyncio.create_task(batcher.answer(values[number])) for number in (4, 5)]
        await asyncio.sleep(0.02)
        session.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, picture, shape, fourth, fifth = asyncio.run(ask())
    assert isinstance(picture, InvalidInput)
    assert isinstance(shape, ModelFailed)
    assert [one["label"]["label"] for one in (first, fourth, fifth)] == ["0", "4", "5"]
    batcher.close()


def test_whole_tensors_come_back_to_their_callers(digits: Bundle) -> None:
    session = Session(digits)
    batcher = Batcher(session, threads=2)
    rng = np.random.default_rng(0)

    async def ask() -> None:
        inputs = [rng.uniform(0, 255, (n, 28, 28)).astype(np.float32) for n in (3, 1, 5, 2)]
        outputs = await asyncio.gather(*(batcher.run({"image": each}) for each in inputs))
        for given, answer in zip(inputs, outputs, strict=True):
            expected = session.predict({"image": given})["label"]
            np.testing.assert_allclose(answer["label"], expected, atol=1e-6)

    asyncio.run(ask())
    batcher.close()


def test_work_of_a_client_that_left_is_not_run(digits: Bundle) -> None:
    session = SlowSession(digits)
    values = read_samples(session)
    records: list[BatchRecord] = []
    batcher = Batcher(session, observe=records.append)

    async def ask() -> None:
        first = asyncio.create_task(batcher.answer(values[0]))
        await asyncio.sleep(0.02)
        left = asyncio.create_task(batcher.answer(values[1]))
        await asyncio.sleep(0.02)
        left.cancel()
        await asyncio.sleep(0.02)
        session.go.set()
        await first
        assert await batcher.drain(5)

    asyncio.run(ask())
    assert [record.items for record in records] == [1]
    batcher.close()


def test_closing_tells_those_that_wait(digits: Bundle) -> None:
    session = SlowSession(digits)
    values = read_samples(session)
    batcher = Batcher(session)

    async def ask() -> None:
        tasks = [asyncio.create_task(batcher.answer(values[0]))]
        await asyncio.sleep(0.02)
        tasks.append(asyncio.create_task(batcher.answer(values[1])))
        await asyncio.sleep(0.02)
        batcher.close()
        with pytest.raises(NotReady):
            await tasks[1]
        session.go.set()
        assert (await tasks[0])["label"]["label"] == "0"
        with pytest.raises(NotReady):
            await batcher.answer(values[0])

    asyncio.run(ask())


def test_the_best_batch_is_measured(digits: Bundle) -> None:
    session = Session(digits)
    limits, costs = find_best_batch(session, {"image": np.zeros((1, 28, 28), np.float32)})
    assert costs[1] > 0
    assert limits.max_batch_size in costs
    wrong, costs = find_best_batch(session, {"image": np.zeros((1, 5, 5), np.float32)})
    assert (wrong.max_batch_size, costs) == (1, {})


def test_processors_are_counted() -> None:
    assert allotted_cpus() >= 1


def test_a_device_that_is_not_there_falls_back(
    digits: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    from modelpad.engine.session import choose_providers

    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    assert choose_providers("auto", [cpu]) == [cpu]
    assert choose_providers("auto", [cpu, cuda]) == [cuda, cpu]
    assert choose_providers("cuda", [cpu, cuda]) == [cuda, cpu]
    assert choose_providers("cuda", [cpu]) == [cpu]
    assert cuda in caplog.text
    session = Session(digits, SessionSettings(device="cuda"))
    assert session.answer(read_samples(session)[2])["label"]["label"] == "2"
    with pytest.raises(ValueError, match="device"):
        SessionSettings(device="abacus")


def test_batches_on_the_loops_own_thread(digits: Bundle) -> None:
    """What has arrived together runs together, in order, and one that is wrong fails alone."""
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
        assert [answer["label"]["label"] for answer in answers[:10]] == list("0123456789")
        assert isinstance(answers[10], InvalidInput)

    asyncio.run(ask())
    batcher.close()
    assert threads == {threading.get_ident()}
    assert [record.items for record in records] == [4, 4, 2]


def test_a_batch_that_takes_too_long_for_the_loop_goes_back_to_threads(
    digits: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(digits)
    monkeypatch.setattr("modelpad.engine.batcher.MAX_INLINE_S", 0.0)
    batcher = Batcher(session, batches=BatchLimits(2))
    batcher.inline = True
    values = {"image": digits.path("samples/3.png").read_bytes()}

    async def ask() -> None:
        answers = await asyncio.gather(*(batcher.answer(values) for _ in range(7)))
        assert [answer["label"]["label"] for answer in answers] == ["3"] * 7

    asyncio.run(ask())
    assert not batcher.inline
    batcher.close()


def test_a_batch_that_the_machine_held_up_stays_on_the_loop(digits: Bundle) -> None:
    """Only what it computes counts: a shared machine is away now and then."""

    class Delayed(Session):
        def predict(self, batch: Mapping[str, Any], run: Any = None) -> dict[str, Any]:
            time.sleep(0.05)
            return super().predict(batch, run)

    batcher = Batcher(Delayed(digits))
    batcher.inline = True
    values = {"image": digits.path("samples/3.png").read_bytes()}
    assert asyncio.run(batcher.answer(values))["label"]["label"] == "3"
    assert batcher.inline
    batcher.close()


def test_a_short_batch_is_found_by_what_it_costs() -> None:
    costs = {1: 0.0003, 2: 0.0002, 4: 0.00016, 8: 0.00014, 16: 0.00013, 32: 0.00013}
    assert find_inline_batch(costs) == BatchLimits(16)
    assert find_inline_batch({1: 0.003, 2: 0.002, 4: 0.0011, 8: 0.001}) is None
    assert find_inline_batch({1: 0.003, 2: 0.003}) == BatchLimits(1)
    assert find_inline_batch({1: 0.1}) is None
    assert find_inline_batch({}) is None
