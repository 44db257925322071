"""Products with weights in 8 bits: plain operators compute the same."""

from __future__ import annotations

import numpy as np
import pytest

from modelpad.deploy.web.weights import NBITS, expand_weights
from modelpad.runtime import load_onnxruntime

onnx = pytest.importorskip("onnx")

ROWS, COLUMNS, BLOCK = 48, 192, 64


def build(level: int, columns: int = COLUMNS) -> bytes:
    """A product with random codes, in blocks that the last column may leave unfinished."""
    random = np.random.default_rng(0)
    blocks = -(-columns // BLOCK)
    codes = random.integers(1, 256, (ROWS, blocks, BLOCK)).astype(np.uint8)
    scales = random.uniform(0.001, 0.01, ROWS * blocks).astype(np.float32)
    settings = {"K": columns, "N": ROWS, "bits": 8, "block_size": BLOCK, "accuracy_level": level}
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node(NBITS, ["x", "c", "s"], ["y"], domain="com.microsoft", **settings)
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", kind, ["rows", columns])],
        [helper.make_tensor_value_info("y", kind, ["rows", ROWS])],
        [onnx.numpy_helper.from_array(codes, "c"), onnx.numpy_helper.from_array(scales, "s")],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    body: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return body


@pytest.mark.parametrize("level", [0, 4])
def test_plain_operators_compute_the_same(level: int) -> None:
    body = build(level)
    expanded = expand_weights(body)
    assert NBITS not in {node.op_type for node in onnx.load_from_string(expanded).graph.node}
    random = np.random.default_rng(1)
    values = random.normal(size=(5, COLUMNS)).astype(np.float32)
    values[2, :BLOCK] = 0
    first, other = (
        load_onnxruntime()
        .InferenceSession(each, providers=["CPUExecutionProvider"])
        .run(None, {"x": values})[0]
        for each in (body, expanded)
    )
    np.testing.assert_allclose(other, first, rtol=0, atol=2e-5)


def test_unfinished_blocks_stay_as_they_are() -> None:
    graph = onnx.load_from_string(expand_weights(build(4, columns=150))).graph
    assert [node.op_type for node in graph.node] == [NBITS]
