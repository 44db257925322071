"""Models for `hostile.py`: one that never finishes, and one with huge outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from hostile_attacks import WIDE
from modelpad.bundle import Manifest, write_bundle
from modelpad.fields import Signature, Tensor


def write_models(folder: Path) -> list[str]:
    """Writes `loop`, whose input sets how often it iterates, and `wide`; returns both folders."""
    return [str(write_loop(folder)), str(write_wide(folder))]


def write_loop(folder: Path) -> Path:
    """A graph that counts to the largest number in the batch, one addition at a time."""
    value = helper.make_tensor_value_info
    one = numpy_helper.from_array(np.array([1.0], np.float32), "one")
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["keep"], ["kept"]),
            helper.make_node("Add", ["sum", "one"], ["sum_out"]),
        ],
        "body",
        [
            value("round", TensorProto.INT64, []),
            value("keep", TensorProto.BOOL, []),
            value("sum", TensorProto.FLOAT, [1]),
        ],
        [value("kept", TensorProto.BOOL, []), value("sum_out", TensorProto.FLOAT, [1])],
        [one],
    )
    nodes = [
        helper.make_node("ReduceMax", ["rounds"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["most"], to=TensorProto.INT64),
        helper.make_node("Loop", ["most", "", "zero"], ["total"], body=body),
        helper.make_node("Add", ["rounds", "total"], ["y"]),
    ]
    zero = numpy_helper.from_array(np.array([0.0], np.float32), "zero")
    return _write(folder, "loop", nodes, [zero], ("rounds", (1,)), ("y", (1,)))


def write_wide(folder: Path) -> Path:
    """A graph that returns `WIDE` copies of each row's number."""
    ones = numpy_helper.from_array(np.ones((1, WIDE), np.float32), "ones")
    nodes = [helper.make_node("Mul", ["x", "ones"], ["y"])]
    return _write(folder, "wide", nodes, [ones], ("x", (1,)), ("y", (WIDE,)))


def _write(
    folder: Path,
    name: str,
    nodes: list[object],
    constants: list[object],
    taken: tuple[str, tuple[int, ...]],
    given: tuple[str, tuple[int, ...]],
) -> Path:
    def describe(field: tuple[str, tuple[int, ...]]) -> object:
        return helper.make_tensor_value_info(field[0], TensorProto.FLOAT, ["batch", *field[1]])

    graph = helper.make_graph(nodes, name, [describe(taken)], [describe(given)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    fields = Signature(
        (Tensor(taken[0], "float32", taken[1]),), (Tensor(given[0], "float32", given[1]),)
    )
    manifest = Manifest(name=name, task="bench", title=name, signature=fields)
    write_bundle(folder / name, manifest, {"model.onnx": model.SerializeToString()})
    return folder / name
