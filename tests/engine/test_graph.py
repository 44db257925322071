"""Graphs in ONNX Runtime: weights in separate files, and too little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import load, save

from modelpad.bundle import Bundle, open_bundle, write_bundle
from modelpad.engine import Session

X = {"x": np.linspace(-1, 1, 1024, dtype=np.float32).reshape(2, 512)}
WITHOUT_MEMORY = """
import resource, sys
from pathlib import Path
from modelpad.bundle import open_bundle
from modelpad.engine import Session
from modelpad.errors import BundleInvalid
from modelpad.runtime import load_onnxruntime

load_onnxruntime()
bundle = open_bundle(Path(sys.argv[1]))
used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + 1_000_000, resource.RLIM_INFINITY))
try:
    Session(bundle)
except BundleInvalid as error:
    print(error.words)
"""


def test_weights_that_are_overwritten_or_cut_do_not_change_a_loaded_graph(
    large: Bundle, tmp_path: Path
) -> None:
    model = load(large.folder / "model.onnx")
    for node in [each for each in model.graph.node if each.op_type == "Constant"]:
        node.attribute[0].t.name = node.output[0]
        model.graph.initializer.append(node.attribute[0].t)
        model.graph.node.remove(node)
    apart = tmp_path / "apart.onnx"
    save(model, apart, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    files = {"model.onnx": apart, "model.onnx.data": tmp_path / "model.onnx.data"}
    write_bundle(tmp_path / "bundle", large.manifest, files)
    session = Session(open_bundle(tmp_path / "bundle"))
    expected = session.predict(X)["y"]
    np.testing.assert_array_equal(Session(large).predict(X)["y"], expected)
    with (tmp_path / "bundle" / "model.onnx.data").open("r+b") as file:
        file.truncate(100)
    np.testing.assert_array_equal(session.predict(X)["y"], expected)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory")
def test_a_graph_that_does_not_fit_into_memory(large: Bundle) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEMORY, str(large.folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "not enough memory to load model.onnx with its weights: 2 MB" in done.stdout
    assert "--max-worker-memory-mb" in done.stdout
