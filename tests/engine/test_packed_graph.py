"""Large graphs that processes map from a cache."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, load, numpy_helper, save

from modelpad.bundle import Bundle, open_bundle, write_bundle
from modelpad.engine import GraphCache, Session, SessionSettings
from modelpad.engine.packed_graph import KEPT, WEIGHTS
from modelpad.fields import Signature, Tensor

SIDE = 512
X = {"x": np.linspace(-1, 1, 2 * SIDE, dtype=np.float32).reshape(2, SIDE)}


@pytest.fixture
def large(tmp_path: Path, build_bundle: Any) -> Bundle:
    """A graph of 2 MB."""
    random = np.random.default_rng(0).standard_normal((2, SIDE, SIDE)).astype(np.float32)
    nodes = []
    for at, given, returned in ((0, "x", "hidden"), (1, "hidden", "y")):
        value = numpy_helper.from_array(random[at] / SIDE**0.5, f"w{at}")
        nodes.append(helper.make_node("Constant", [], [f"w{at}"], value=value))
        nodes.append(helper.make_node("MatMul", [given, f"w{at}"], [returned]))
    kind = TensorProto.FLOAT
    signature = Signature((Tensor("x", "float32", (SIDE,)),), (Tensor("y", "float32", (SIDE,)),))
    made: Bundle = build_bundle(
        tmp_path, "large", nodes, [("x", kind, [SIDE])], [("y", kind, [SIDE])], signature
    )
    return made


def share(folder: Path, min_bytes: int = 1) -> SessionSettings:
    return SessionSettings(packed=GraphCache(folder, min_bytes))


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sessions_map_the_same_weights_and_cannot_write_to_them(
    large: Bundle, tmp_path: Path
) -> None:
    expected = Session(large).predict(X)["y"]
    cache = tmp_path / "graphs"
    sessions = [Session(large, share(cache)) for _ in range(2)]
    for session in sessions:
        np.testing.assert_array_equal(session.predict(X)["y"], expected)
    (entry,) = entries(cache)
    lines = Path("/proc/self/maps").read_text().splitlines()
    mapped = [line.split() for line in lines if line.endswith(str(entry / WEIGHTS))]
    assert len(mapped) >= 4  # two tensors in each session
    assert {line[1] for line in mapped} == {"r--p"}
    assert len({line[4] for line in mapped}) == 1  # one file


def test_small_graphs_and_other_devices_are_not_shared(large: Bundle, tmp_path: Path) -> None:
    Session(large, share(tmp_path / "graphs", min_bytes=large.graph_bytes + 1))
    cache = GraphCache(tmp_path / "graphs", 1)
    Session(large, SessionSettings(device="auto", packed=cache))
    assert not (tmp_path / "graphs").exists()


def test_a_damaged_entry_is_written_again(large: Bundle, tmp_path: Path) -> None:
    cache = tmp_path / "graphs"
    expected = Session(large, share(cache)).predict(X)["y"]
    (entry,) = entries(cache)
    size = (entry / WEIGHTS).stat().st_size
    (entry / WEIGHTS).rename(tmp_path / "mapped")  # the session above still maps it
    (entry / WEIGHTS).write_bytes(bytes(size))
    np.testing.assert_array_equal(Session(large, share(cache)).predict(X)["y"], expected)
    assert entries(cache) == [entry]


def test_the_last_used_entries_are_kept(large: Bundle, tmp_path: Path) -> None:
    cache = tmp_path / "graphs"
    for at in range(KEPT + 2):
        (cache / f"old-{at}").mkdir(parents=True)
        os.utime(cache / f"old-{at}", (at, at))
    Session(large, share(cache))
    left = {path.name for path in entries(cache)}
    assert len(left) == KEPT
    assert left > {f"old-{at}" for at in range(3, KEPT + 2)}


def test_where_the_cache_cannot_be_written_each_session_has_a_copy(
    large: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "graphs").write_text("a file")
    session = Session(large, share(tmp_path / "graphs"))
    np.testing.assert_array_equal(session.predict(X)["y"], Session(large).predict(X)["y"])
    assert re.search(r"large: each worker loads its own copy of the weights: .*graphs", caplog.text)


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
