"""The measured batch sizes."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from modelpad.bundle import Bundle
from modelpad.engine import BatchLimits, Session, SessionSettings, find_best_batch
from modelpad.engine.calibration import (
    choose_batch,
    choose_chunk_size,
    choose_clock,
    find_inline_batch,
    find_sample,
    plan_s,
)
from modelpad.fields import Signature, Tensor


def test_the_best_batch_is_measured(digits: Bundle) -> None:
    session = Session(digits)
    limits, costs = find_best_batch(session, {"image": np.zeros((1, 28, 28), np.float32)})
    assert costs[1] > 0
    assert limits.max_batch_size in costs
    wrong, costs = find_best_batch(session, {"image": np.zeros((1, 5, 5), np.float32)})
    assert (wrong.max_batch_size, costs) == (1, {})


def test_the_inline_batch_is_fast_and_cheap() -> None:
    costs = {1: 0.0003, 2: 0.0002, 4: 0.00016, 8: 0.00014, 16: 0.00013, 32: 0.00013}
    assert find_inline_batch(costs) == BatchLimits(16)
    assert find_inline_batch({1: 0.003, 2: 0.002, 4: 0.0011, 8: 0.001}) is None
    assert find_inline_batch({1: 0.003, 2: 0.003}) == BatchLimits(1)
    assert find_inline_batch({1: 0.1}) is None
    assert find_inline_batch({}) is None


def test_a_slow_model_gets_the_smallest_good_batch() -> None:
    fast, slow = {1: 0.0011, 2: 0.001, 4: 0.00101}, {1: 0.055, 2: 0.0545, 4: 0.054}
    assert choose_batch(fast) == BatchLimits(4)
    assert choose_batch(slow) == BatchLimits(1)
    assert choose_batch({1: 0.2, 2: 0.18, 4: 0.179}) == BatchLimits(2)
    assert choose_batch({}) == BatchLimits(1)


def test_a_slow_model_is_measured_while_its_cost_falls() -> None:
    assert plan_s({1: 0.01, 2: 0.01}) == 0
    assert plan_s({1: 0.1}) == pytest.approx(0.6)
    assert plan_s({1: 0.1, 2: 0.08}) == pytest.approx(0.96)
    assert plan_s({1: 0.1, 2: 0.099}) == math.inf


def test_a_chunk_takes_a_few_milliseconds() -> None:
    assert choose_chunk_size({1: 0.001, 8: 0.0005}, 8) == 8
    assert choose_chunk_size({1: 0.0001, 32: 0.00001}, 32) == 400
    assert choose_chunk_size({}, 4) == 4


def test_other_processes_do_not_make_a_graph_look_slow(
    digits: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(digits)
    predict = session.predict

    def wait(*batch: Any) -> Any:
        time.sleep(0.02)  # the processor is given to another process
        return predict(*batch)

    monkeypatch.setattr(session, "predict", wait)
    _, costs = find_best_batch(session, {"image": np.zeros((1, 28, 28), np.float32)})
    assert costs[1] < 0.02
    many = Session(digits, SessionSettings(threads=2))
    assert choose_clock(many) is time.perf_counter


def test_zeros_stand_in_for_a_sample_only_where_the_cost_is_bounded(
    digits: Bundle, tmp_path: Path, build_bundle: Any
) -> None:
    bare = Bundle(digits.folder, replace(digits.manifest, samples=()))
    sample = find_sample(Session(bare))
    assert sample is not None
    assert {name: array.shape for name, array in sample.items()} == {"image": (1, 28, 28)}
    signature = Signature((Tensor("x", "float32", (None,)),), (Tensor("y", "float32", (None,)),))
    free = build_bundle(
        tmp_path,
        "free",
        [helper.make_node("Relu", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, ["length"])],
        [("y", TensorProto.FLOAT, ["length"])],
        signature,
    )
    assert find_sample(Session(free)) is None
