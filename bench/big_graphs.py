"""Graphs of the size and structure of ResNet-50 and BERT-base, with random but alive weights.

They have the layers, shapes and cost of the originals (He et al., 2015; Devlin et al., 2018), and
need no download. Batch normalisation is folded into the convolutions, as exporters do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from graphs import OPSET, Weights

RESNET_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # inner channels, blocks
RESIDUAL_SCALE = 0.3  # of a block's last layer, so that a sum of 16 blocks does not explode
VOCABULARY, POSITIONS = 30_522, 512
HIDDEN = -1e4  # added to the scores of tokens that the mask hides


class Layers(Weights):
    """Collects the nodes of a graph. Methods return the name of the value that they add."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[onnx.NodeProto] = []

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """A node with one output."""
        name = name or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, name: str, values: Any) -> str:
        """A tensor that is not random."""
        self.tensors.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def bias(self, name: str, size: int) -> str:
        """A small random vector."""
        return self.add(f"{name}.bias", (size,), 200)

    def dense(self, given: str, name: str, inputs: int, outputs: int, scale: float = 1.0) -> str:
        """A dense layer with a bias."""
        kernel = self.add(f"{name}.kernel", (inputs, outputs), round(inputs / scale**2))
        return self.node("Add", self.node("MatMul", given, kernel), self.bias(name, outputs))

    def save(
        self, path: Path, inputs: Mapping[str, tuple[int, list[int]]], output: str, size: int
    ) -> None:
        """Writes the graph; `inputs` are types and item shapes, `size` is the output's."""
        given = [
            helper.make_tensor_value_info(name, kind, ["batch", *shape])
            for name, (kind, shape) in inputs.items()
        ]
        returned = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", size])]
        graph = helper.make_graph(self.nodes, path.stem, given, returned, self.tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 9
        onnx.save(model, path)


class ResNet(Layers):
    """The blocks of a residual network."""

    def filter(
        self, given: str, name: str, shape: tuple[int, int, int], stride: int, scale: float = 1.0
    ) -> str:
        """A convolution with a bias; `shape` is inputs, outputs and the side of its square."""
        inputs, outputs, side = shape
        fan = round(inputs * side * side / scale**2)
        kernel = self.add(f"{name}.kernel", (outputs, inputs, side, side), fan)
        bias = self.bias(name, outputs)
        pads = [side // 2] * 4
        return self.node("Conv", given, kernel, bias, strides=[stride] * 2, pads=pads)

    def block(self, given: str, name: str, channels: int, inner: int, stride: int) -> str:
        """A bottleneck: 1 x 1, 3 x 3, 1 x 1, added to its input."""
        outer = 4 * inner
        value = self.node("Relu", self.filter(given, f"{name}.in", (channels, inner, 1), 1))
        value = self.node("Relu", self.filter(value, f"{name}.mid", (inner, inner, 3), stride))
        value = self.filter(value, f"{name}.out", (inner, outer, 1), 1, RESIDUAL_SCALE)
        if channels != outer or stride != 1:
            given = self.filter(given, f"{name}.skip", (channels, outer, 1), stride)
        return self.node("Relu", self.node("Add", value, given))


def write_resnet(path: Path, stages: tuple[tuple[int, int], ...] = RESNET_STAGES) -> None:
    """ResNet-50: `image` (batch, 3, 224, 224) to `label` (batch, 1000).

    25.5 million parameters, 102 MB, 4.1 billion multiplications per image.
    """
    net = ResNet()
    value = net.node("Relu", net.filter("image", "stem", (3, 64, 7), 2))
    value = net.node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, (inner, blocks) in enumerate(stages):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            value = net.block(value, f"stage{stage}.{block}", channels, inner, stride)
            channels = 4 * inner
    value = net.node("Flatten", net.node("GlobalAveragePool", value))
    net.node("Softmax", net.dense(value, "head", channels, 1000, 0.3), name="label")
    net.save(path, {"image": (TensorProto.FLOAT, [3, 224, 224])}, "label", 1000)


class Bert(Layers):
    """The blocks of a transformer's encoder, `width` values a token."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.width, self.heads, self.tokens = width, width // 64, tokens
        self.split = self.constant("split", np.array([0, 0, self.heads, 64]))
        self.joined = self.constant("joined", np.array([0, 0, width]))
        self.scale = self.constant("scale", np.float32(64**-0.5))
        self.half = self.constant("half", np.float32(0.5))
        self.one = self.constant("one", np.float32(1))
        self.root = self.constant("root", np.float32(2**0.5))

    def normalise(self, given: str, name: str) -> str:
        """Layer normalisation, at its initial values."""
        scale = self.constant(f"{name}.scale", np.ones(self.width, np.float32))
        return self.node("LayerNormalization", given, scale, self.bias(name, self.width))

    def embed(self) -> str:
        """The sum of the embeddings of words, positions and the first of two kinds of segment."""
        words = self.add("words", (VOCABULARY, self.width), 2)
        places = self.add("positions", (POSITIONS, self.width), 2)
        kinds = self.add("segments", (2, self.width), 2)
        place = self.node("Gather", places, self.constant("places", np.arange(self.tokens)))
        kind = self.node("Gather", kinds, self.constant("segment", np.array(0)))
        value = self.node("Add", self.node("Gather", words, "input_ids"), place)
        return self.normalise(self.node("Add", value, kind), "embeddings")

    def mask(self) -> str:
        """What to add to the scores of attention: 0, or a large negative number."""
        axes = self.constant("axes", np.array([1, 2]))
        given = self.node("Cast", "attention_mask", to=TensorProto.FLOAT)
        hidden = self.node("Sub", self.one, self.node("Unsqueeze", given, axes))
        return self.node("Mul", hidden, self.constant("hidden", np.float32(HIDDEN)))

    def attend(self, given: str, mask: str, name: str) -> str:
        """Self-attention, added to its input."""
        parts = []
        for part, order in (
            ("query", [0, 2, 1, 3]),
            ("key", [0, 2, 3, 1]),
            ("value", [0, 2, 1, 3]),
        ):
            value = self.dense(given, f"{name}.{part}", self.width, self.width, 0.7)
            value = self.node("Reshape", value, self.split)
            parts.append(self.node("Transpose", value, perm=order))
        query, key, value = parts
        scores = self.node("Mul", self.node("MatMul", query, key), self.scale)
        shares = self.node("Softmax", self.node("Add", scores, mask), axis=-1)
        value = self.node("Transpose", self.node("MatMul", shares, value), perm=[0, 2, 1, 3])
        value = self.node("Reshape", value, self.joined)
        value = self.dense(value, f"{name}.out", self.width, self.width, 0.7)
        return self.normalise(self.node("Add", value, given), name)

    def widen(self, given: str, name: str) -> str:
        """Two dense layers with a GELU in between, added to their input."""
        value = self.dense(given, f"{name}.wide", self.width, 4 * self.width, 0.7)
        bell = self.node("Add", self.node("Erf", self.node("Div", value, self.root)), self.one)
        value = self.node("Mul", self.node("Mul", value, bell), self.half)
        value = self.dense(value, f"{name}.narrow", 4 * self.width, self.width, 0.7)
        return self.normalise(self.node("Add", value, given), name)


def write_bert(path: Path, layers: int = 12, width: int = 768, tokens: int = 128) -> None:
    """BERT-base: `input_ids` and `attention_mask` (batch, `tokens`) to `pooled` (batch, `width`).

    109 million parameters, 438 MB, 11 billion multiplications for 128 tokens.
    """
    net = Bert(width, tokens)
    value, mask = net.embed(), net.mask()
    for layer in range(layers):
        value = net.attend(value, mask, f"layer{layer}.attention")
        value = net.widen(value, f"layer{layer}.dense")
    first = net.node("Gather", value, net.constant("first", np.array(0)), axis=1)
    net.node("Tanh", net.dense(first, "pooler", width, width, 0.7), name="pooled")
    inputs = {name: (TensorProto.INT64, [tokens]) for name in ("input_ids", "attention_mask")}
    net.save(path, inputs, "pooled", width)
