"""What several tests of the engine share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

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
