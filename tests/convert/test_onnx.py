"""ONNX files of any origin, from the file to an answer over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

RNG = np.random.default_rng(2)
WEIGHTS = RNG.normal(size=(4, 3)).astype(np.float32)


def make_graph(
    *, opset: int = 18, batch: Any = "n", domain: str = "", op: str = "Gemm", ir: int = 8
) -> Any:
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    x = helper.make_tensor_value_info("row", onnx.TensorProto.FLOAT, [batch, 4])
    y = helper.make_tensor_value_info("sums", onnx.TensorProto.FLOAT, [batch, 3])
    bias = np.arange(3, dtype=np.float32)
    names = ["row", "w", "b"]
    node = helper.make_node(op, names, ["sums"], name="only", domain=domain)
    graph = helper.make_graph(
        [node],
        "g",
        [x],
        [y],
        [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(bias, "b")],
    )
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(domain, 1)] if domain else []
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir)


def check_rows(ask: Any, assert_close: Any) -> None:
    for _ in range(2):
        row = RNG.normal(size=4).round(3)
        assert_close(ask({"row": row.tolist()})["outputs"]["sums"], row @ WEIGHTS + np.arange(3))


@pytest.mark.parametrize("opset", [9, 11, 18, 23])
def test_opsets(served: Any, tmp_path: Path, assert_close: Any, opset: int) -> None:
    onnx.save(make_graph(opset=opset), tmp_path / "g.onnx")
    check_rows(served(str(tmp_path / "g.onnx")), assert_close)


def test_a_fixed_batch_is_made_free(served: Any, tmp_path: Path, assert_close: Any) -> None:
    onnx.save(make_graph(batch=1), tmp_path / "g.onnx")
    check_rows(served(str(tmp_path / "g.onnx")), assert_close)


def test_external_data_comes_along(served: Any, tmp_path: Path, assert_close: Any) -> None:
    onnx.save_model(
        make_graph(),
        tmp_path / "g.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    ask = served(str(tmp_path / "g.onnx"))
    (tmp_path / "weights.bin").unlink()
    check_rows(ask, assert_close)


def test_a_live_graph_is_saved(served: Any, tmp_path: Path, assert_close: Any) -> None:
    import modelpad

    modelpad.save(make_graph(), "model", store=tmp_path / "store")
    check_rows(served(saved="model"), assert_close)


def test_an_output_told_with_another_rank(served: Any, tmp_path: Path, assert_close: Any) -> None:
    """What the graph answers counts, as exporters that know no rank write anything."""
    model = make_graph()
    model.graph.output[0].type.tensor_type.shape.dim.add(dim_value=1)
    onnx.save(model, tmp_path / "g.onnx")
    check_rows(served(str(tmp_path / "g.onnx")), assert_close)


def test_serving_the_file_as_it_is(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    monkeypatch.setenv("MODELPAD_CACHE", str(tmp_path / "cache"))
    onnx.save(make_graph(), tmp_path / "My Graph.onnx")
    for _ in range(2):
        running = serve(str(tmp_path / "My Graph.onnx"), store=tmp_path / "store")
        answer = httpx.post(f"{running.url}/predict/My-Graph", json={"row": [0, 0, 0, 0]})
        assert answer.json()["outputs"]["sums"] == [0, 1, 2]
    assert len(list((tmp_path / "cache" / "imports").glob("*/My-Graph"))) == 1
    changed = make_graph()
    changed.graph.initializer[1].CopyFrom(
        onnx.numpy_helper.from_array(np.full(3, 7, np.float32), "b")
    )
    onnx.save(changed, tmp_path / "My Graph.onnx")
    running = serve(str(tmp_path / "My Graph.onnx"), store=tmp_path / "store")
    answer = httpx.post(f"{running.url}/predict/My-Graph", json={"row": [0, 0, 0, 0]})
    assert answer.json()["outputs"]["sums"] == [7, 7, 7]
