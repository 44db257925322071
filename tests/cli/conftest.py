"""Parts that the tests of several commands use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelpad.bundle import Bundle


@pytest.fixture
def seven(digits: Bundle) -> str:
    """A picture of a seven."""
    return str(digits.path("samples/7.png"))


@pytest.fixture
def corrupt_store(run_modelpad: Any, digits: Bundle, tmp_path: Path) -> None:
    """The digits in the store of `run_modelpad`, with one bit of the graph changed."""
    assert run_modelpad("models", "push", str(digits.folder)).returncode == 0
    graph = tmp_path / "store" / "digits" / "1" / "model.onnx"
    body = bytearray(graph.read_bytes())
    body[50] ^= 1
    graph.write_bytes(body)
