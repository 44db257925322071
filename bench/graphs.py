"""ONNX graphs with random but alive weights, for benchmarks that need a certain size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def write_cnn(path: Path, hidden: int = 720) -> None:
    """A small convolutional network of 4.8 MB: `image` (batch, 28, 28, 1) to `label` (batch, 10).

    Two convolutions and two dense layers, as in most introductions to MNIST.
    """
    weights = Weights()
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        *weights.convolve("planes", "first", 1, 32),
        *weights.convolve("first", "second", 32, 64),
        helper.make_node("Flatten", ["second"], ["flat"]),
        *weights.connect("flat", "hidden", 5 * 5 * 64, hidden),
        helper.make_node("Relu", ["hidden"], ["active"]),
        *weights.connect("active", "logits", hidden, 10),
        helper.make_node("Softmax", ["logits"], ["label"]),
    ]
    write_graph(path, nodes, weights, ("image", [28, 28, 1]), ("label", [10]))


class Weights:
    """Random weights, scaled so that activations neither vanish nor explode (He et al., 2015)."""

    def __init__(self) -> None:
        self.tensors: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)

    def add(self, name: str, shape: tuple[int, ...], inputs: int) -> str:
        """Adds a tensor, of a layer in which each output sums up so many inputs."""
        values = self._random.standard_normal(shape, np.float32) * np.sqrt(2 / inputs)
        self.tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def convolve(self, given: str, name: str, inputs: int, outputs: int) -> list[onnx.NodeProto]:
        """A convolution of 3 x 3, a ReLU and a pooling of 2 x 2."""
        kernel = self.add(f"{name}.kernel", (outputs, inputs, 3, 3), 9 * inputs)
        return [
            helper.make_node("Conv", [given, kernel], [f"{name}.sums"]),
            helper.make_node("Relu", [f"{name}.sums"], [f"{name}.active"]),
            helper.make_node(
                "MaxPool", [f"{name}.active"], [name], kernel_shape=[2, 2], strides=[2, 2]
            ),
        ]

    def connect(self, given: str, name: str, inputs: int, outputs: int) -> list[onnx.NodeProto]:
        """A dense layer."""
        return [
            helper.make_node(
                "MatMul", [given, self.add(f"{name}.kernel", (inputs, outputs), inputs)], [name]
            )
        ]


def write_graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: Weights,
    given: tuple[str, list[int]],
    returned: tuple[str, list[int]],
) -> None:
    """Writes a graph of one float32 input and one output, each with a batch axis in front."""
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])]
        for name, shape in (given, returned)
    )
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, weights.tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 9
    onnx.save(model, path)
