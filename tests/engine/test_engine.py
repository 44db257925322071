"""The engine: sessions, a bounded queue, a time limit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.bundle import Bundle, write_bundle
from modelpad.engine import QueueLimits, Session, SessionSettings, ThreadRunner, allotted_cpus
from modelpad.errors import BundleInvalid, DeadlineExceeded, InvalidInput, ModelFailed, Overloaded
from modelpad.fields import Label, Signature, Sketch


class SlowSession(Session):
    """A real session that waits until it is let go."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.go = threading.Event()

    def answer(self, values: Mapping[str, object]) -> dict[str, Any]:
        self.go.wait(10)
        return super().answer(values)


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
    with pytest.raises(BundleInvalid, match="cannot open"):
        Session(broken)


def test_a_full_queue_and_a_late_answer_are_refused(digits: Bundle) -> None:
    session = SlowSession(digits)
    values = session.sample_values(digits.manifest.samples[3].inputs)
    runner = ThreadRunner(session, limits=QueueLimits(length=2, timeout_s=0.2))

    async def ask() -> None:
        first = [asyncio.create_task(runner.answer(values)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await runner.answer(values)
        assert refused.value.details["retry_after_s"] == 1
        for task in first:
            with pytest.raises(DeadlineExceeded):
                await task
        session.go.set()
        while runner.waiting:
            await asyncio.sleep(0.01)
        assert (await runner.answer(values))["label"]["label"] == "3"

    asyncio.run(ask())
    runner.close()


def test_processors_are_counted() -> None:
    assert allotted_cpus() >= 1
