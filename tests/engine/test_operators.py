"""Graphs whose cost follows from the shapes of their inputs, told from others by their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from modelpad.bundle import Bundle
from modelpad.engine import Session
from modelpad.engine.operators import is_bounded
from modelpad.zoo import zoo_bundles


def value(name: str, kind: int = T.FLOAT, shape: Any = ("batch",)) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def save(folder: Path, nodes: Any, initializers: Any = (), functions: Any = ()) -> Path:
    """`x` in, `y` out."""
    graph = helper.make_graph(nodes, "g", [value("x")], [value("y")], list(initializers))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def make_loop(name: str = "Loop") -> Any:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["v"], ["w"])],
        "body",
        [value("i", T.INT64, []), value("go", T.BOOL, []), value("v", T.FLOAT, None)],
        [value("on", T.BOOL, []), value("w", T.FLOAT, None)],
    )
    return helper.make_node(name, ["n", "true", "x"], ["y"], body=body)


def make_if() -> Any:
    branch = helper.make_graph([helper.make_node("Neg", ["x"], ["z"])], "branch", [], [value("z")])
    return helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)


def test_plain_operators_are_bounded(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(__import__("numpy").ones(100_000, "float32"), "w")
    nodes = [helper.make_node("Add", ["x", "w"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    assert is_bounded(save(tmp_path, nodes, [weights]), ["x"])
    assert is_bounded(zoo_bundles()["digits"] / "model.onnx", ["image"])


@pytest.mark.parametrize("node", [make_loop(), make_if(), make_loop("SomethingNew")])
def test_graphs_within_graphs_are_not(tmp_path: Path, node: Any) -> None:
    assert not is_bounded(save(tmp_path, [node]), ["x"])


def test_loops_within_functions_are_not(tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 17)]
    call = helper.make_node("Turn", ["x"], ["y"], domain="own")
    loop = helper.make_function("own", "Turn", ["x"], ["y"], [make_loop()], opsets)
    assert not is_bounded(save(tmp_path, [call], functions=[loop]), ["x"])
    negative = helper.make_node("Neg", ["x"], ["y"])
    turn = helper.make_function("own", "Turn", ["x"], ["y"], [negative], opsets)
    assert is_bounded(save(tmp_path, [call], functions=[turn]), ["x"])


def test_operators_of_other_domains_are_not(tmp_path: Path) -> None:
    node = helper.make_node("Neg", ["x"], ["y"], domain="com.example")
    assert not is_bounded(save(tmp_path, [node]), ["x"])


def test_a_size_that_comes_from_values_is_not_one_that_comes_from_shapes_is(tmp_path: Path) -> None:
    grow = helper.make_node("ConstantOfShape", ["size"], ["y"])
    from_shape = helper.make_node("Shape", ["x"], ["size"])
    assert is_bounded(save(tmp_path, [from_shape, grow]), ["x"])
    from_values = helper.make_node("Cast", ["x"], ["size"], to=T.INT64)
    assert not is_bounded(save(tmp_path, [from_values, grow]), ["x"])
    between = [
        from_values,
        helper.make_node("Mul", ["size", "one"], ["more"]),
        helper.make_node("Expand", ["one", "more"], ["y"]),
    ]
    assert not is_bounded(save(tmp_path, between), ["x"])


@pytest.mark.parametrize("content", [b"", b"no model", b"\x3a\xff\xff\xff\xff\xff\x7f", b"\x3b"])
def test_what_is_no_model_is_not(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert not is_bounded(path, ["x"])
    assert not is_bounded(tmp_path / "missing.onnx", ["x"])


def test_a_session_needs_items_of_one_shape(digits: Bundle, bundles: Path) -> None:
    from modelpad.bundle import open_bundle

    assert Session(digits).is_bounded()
    assert Session(open_bundle(bundles / "mix")).is_bounded()
    assert not Session(open_bundle(bundles / "echo")).is_bounded()  # of text
