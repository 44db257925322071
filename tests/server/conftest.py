"""Models made for the protocols: a row of numbers, two inputs, text, a score."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelpad.bundle import Bundle, Manifest, write_bundle
from modelpad.fields import Label, Score, Signature, Tensor, Text


def make_bundle(
    folder: Path, name: str, nodes: Any, inputs: Any, outputs: Any, signature: Signature
) -> Bundle:
    """A bundle of a graph written by hand; `inputs` and `outputs` are (name, type, item shape)."""
    from onnx import helper

    def describe(values: Any) -> list[Any]:
        return [helper.make_tensor_value_info(n, kind, ["batch", *s]) for n, kind, s in values]

    graph = helper.make_graph(nodes, name, describe(inputs), describe(outputs))
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    manifest = Manifest(name=name, task="test", title=name, signature=signature)
    return write_bundle(folder / name, manifest, {"model.onnx": model.SerializeToString()})


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles."""
    from onnx import TensorProto, helper, numpy_helper

    folder = tmp_path_factory.mktemp("bundles")
    half = numpy_helper.from_array(np.array(0.5, np.float32), "half")
    two = numpy_helper.from_array(np.array(2.0, np.float32), "two")

    def constant(tensor: Any) -> Any:
        return helper.make_node("Constant", [], [tensor.name], value=tensor)

    number = TensorProto.FLOAT
    make_bundle(
        folder,
        "half_plus_two",
        [
            constant(half),
            constant(two),
            helper.make_node("Mul", ["x", "half"], ["halved"]),
            helper.make_node("Add", ["halved", "two"], ["y"]),
        ],
        [("x", number, [])],
        [("y", number, [])],
        Signature((Tensor("x", "float32", ()),), (Score("y"),)),
    )
    make_bundle(
        folder,
        "mix",
        [
            helper.make_node("Add", ["first", "second"], ["total"]),
            helper.make_node("Sub", ["first", "second"], ["apart"]),
        ],
        [("first", TensorProto.INT32, [4]), ("second", TensorProto.INT32, [4])],
        [("total", TensorProto.INT32, [4]), ("apart", TensorProto.INT32, [4])],
        Signature(
            (Tensor("first", "int32", (4,)), Tensor("second", "int32", (4,))),
            (Tensor("total", "int32", (4,)), Tensor("apart", "int32", (4,))),
        ),
    )
    make_bundle(
        folder,
        "echo",
        [helper.make_node("Identity", ["words"], ["same"])],
        [("words", TensorProto.STRING, [])],
        [("same", TensorProto.STRING, [])],
        Signature((Text("words"),), (Text("same"),)),
    )
    make_bundle(
        folder,
        "pick",
        [helper.make_node("Softmax", ["row"], ["kind"], axis=-1)],
        [("row", number, [3])],
        [("kind", number, [3])],
        Signature((Tensor("row", "float32", (3,)),), (Label("kind", ("a", "b", "c")),)),
    )
    return folder


@pytest.fixture(scope="session")
def protocols(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with these, and with the digits."""
    import re
    import subprocess
    import sys

    names = [str(path) for path in sorted(bundles.iterdir())]
    store = tmp_path_factory.mktemp("store")
    command = [sys.executable, "-m", "modelpad", "serve", *names, "digits", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--no-open", "--store", str(store)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = ""
    for line in process.stdout:
        found = re.search(r"page\s+http://(\S+)", line)
        if found:
            address = found.group(1)
            break
    yield address
    process.terminate()
    assert process.wait(timeout=15) == 0
