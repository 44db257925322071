"""What programs call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import modelpad
from modelpad.store import LocalStore


def test_a_model_is_saved_to_the_store_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx import TensorProto, helper, numpy_helper

    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("x", "y")
    ]
    two = numpy_helper.from_array(np.array(2.0, np.float32), "two")
    nodes = [helper.make_node("Mul", ["x", "two"], ["y"])]
    graph = helper.make_graph(nodes, "double", shapes[:1], shapes[1:], [two])
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    monkeypatch.setenv("MODELPAD_STORE", str(tmp_path / "store"))
    assert modelpad.save(model, "double").version == 1
    assert LocalStore(tmp_path / "store").names() == ["double"]
    modelpad.save(model, "double", store=tmp_path / "other")
    assert LocalStore(tmp_path / "other").versions("double") == [1]


def test_programs_do_not_import_the_command_line() -> None:
    code = "import sys, modelpad.api; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not any(name.startswith("modelpad.cli") for name in done.stdout.split())
