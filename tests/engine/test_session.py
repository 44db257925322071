"""Sessions: inputs, outputs, batches and devices."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.bundle import Bundle, write_bundle
from modelpad.engine import Session, SessionSettings, allotted_cpus
from modelpad.engine.graph import choose_providers
from modelpad.errors import BundleInvalid, InvalidInput, ModelFailed
from modelpad.fields import Label, Signature, Sketch


def test_a_batch_gives_the_outputs_of_its_items(digits: Bundle) -> None:
    session = Session(digits, SessionSettings(threads=2))
    items = np.random.default_rng(1).uniform(0, 255, (7, 28, 28)).astype(np.float32)
    together = session.predict({"image": items})["label"].astype(np.float64)
    alone = [session.predict({"image": items[i : i + 1]})["label"][0] for i in range(7)]
    np.testing.assert_allclose(together, np.array(alone, np.float64), atol=1e-6)


def test_wrong_fields_and_shapes_are_named(digits: Bundle) -> None:
    session = Session(digits)
    with pytest.raises(InvalidInput, match="'image' is missing"):
        session.answer({})
    with pytest.raises(ModelFailed):
        session.predict({"image": np.zeros((1, 5, 5), np.float32)})
    with pytest.raises(ValueError):
        SessionSettings(threads=0)


def test_a_graph_must_match_the_signature(digits: Bundle, tmp_path: Path) -> None:
    wrong = Signature((Sketch("picture"),), (Label("label", ("a", "b")),))
    manifest = replace(digits.manifest, signature=wrong, samples=())
    bundle = write_bundle(tmp_path / "x", manifest, {"model.onnx": digits.path("model.onnx")})
    with pytest.raises(BundleInvalid, match="picture"):
        Session(bundle)
    broken = write_bundle(tmp_path / "y", manifest, {"model.onnx": b"no graph"})
    with pytest.raises(BundleInvalid, match="cannot load"):
        Session(broken)


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [
        (4, "max 100000", 4),
        (4, "200000 100000", 2),
        (4, "50000 100000", 1),
        (2, "800000 100000", 2),
        (4, "", 4),
    ],
)
def test_cpus_are_limited_by_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, affinity: int, quota: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda _: quota)
    assert allotted_cpus() == expected


def test_a_missing_device_falls_back_to_the_cpu(
    digits: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    assert choose_providers("auto", [cpu]) == [cpu]
    assert choose_providers("auto", [cpu, cuda]) == [cuda, cpu]
    assert choose_providers("cuda", [cpu, cuda]) == [cuda, cpu]
    assert choose_providers("cuda", [cpu]) == [cpu]
    assert cuda in caplog.text
    session = Session(digits, SessionSettings(device="cuda"))
    answer: Any = session.answer({"image": digits.path("samples/2.png").read_bytes()})
    assert answer["label"]["label"] == "2"
    with pytest.raises(ValueError, match="device"):
        SessionSettings(device="abacus")
