"""What several tests of the engine share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.bundle import Bundle
from modelpad.fields import Score, Signature, Tensor

Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def until() -> Until:
    """Lets the event loop run until a condition holds, for at most 10 seconds."""

    async def wait(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, "the condition never held"
            await asyncio.sleep(0.001)

    return wait


@pytest.fixture
def doubler(tmp_path: Path, build_bundle: Any) -> Bundle:
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    signature = Signature((Tensor("x", "float32", ()),), (Score("y"),))
    made: Bundle = build_bundle(
        tmp_path, "double", nodes, [("x", kind, [])], [("y", kind, [])], signature
    )
    return made


@pytest.fixture
def large(tmp_path: Path, build_bundle: Any) -> Bundle:
    """Two dense layers of 512 values, 2 MB."""
    from onnx import TensorProto, helper, numpy_helper

    side = 512
    random = np.random.default_rng(0).standard_normal((2, side, side)).astype(np.float32)
    nodes = []
    for at, given, returned in ((0, "x", "hidden"), (1, "hidden", "y")):
        value = numpy_helper.from_array(random[at] / side**0.5, f"w{at}")
        nodes.append(helper.make_node("Constant", [], [f"w{at}"], value=value))
        nodes.append(helper.make_node("MatMul", [given, f"w{at}"], [returned]))
    kind = TensorProto.FLOAT
    signature = Signature((Tensor("x", "float32", (side,)),), (Tensor("y", "float32", (side,)),))
    made: Bundle = build_bundle(
        tmp_path, "large", nodes, [("x", kind, [side])], [("y", kind, [side])], signature
    )
    return made
