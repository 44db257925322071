"""Language models with random weights: bundles of tiny ones for tests, of real size for benchmarks.

Each block is a linear recurrence, as in minGRU (https://arxiv.org/abs/2410.01201):
`h = (1 - z) h + z c`, with `z` and `c` computed from the block's input alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from modelpad.bundle import Bundle, Manifest, SequenceModel, SequenceState, write_bundle
from modelpad.fields import Label, Signature, Text
from modelpad.fields.byte_pairs import byte_characters
from modelpad.foreign_json import Json

OPSET = 21
SENTENCES = (
    "My favorite part was when the old captain laughed and the ship sailed on.",
    "I loved the first part of the film, but the second part was a waste of time.",
    "It's the best thing I've ever seen; don't miss it, they'll show it 3 times in 2026!",
    "Ein Film über Bäume – naïve, café, 東京, émotions 🙂 and more.",
)
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Size:
    """How large a model is, and how it multiplies.

    `matmul` is `float32`, `rows` for int8 with a scale for each row, or `batch` for int8 with one
    for the whole batch, so that rows depend on each other.
    """

    vocabulary: int = 400
    width: int = 32
    blocks: int = 2
    matmul: str = "float32"
    seed: int = 7


@dataclass
class Builder:
    """Collects the nodes and weights of a graph."""

    size: Size
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node and returns the names of its outputs."""
        names = [f"{op.lower()}_{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(op, [*inputs], names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Adds a weight and returns its name."""
        name = f"weight_{len(self.weights)}"
        self.weights[name] = np.asarray(value, dtype)
        return name

    def integers(self, *values: int) -> str:
        """A constant vector of integers."""
        return self.constant([*values], np.int64)

    def multiply(self, x: str, weight: Floats) -> str:
        """`x @ weight`. In int8, each row of `x` has a scale of its own: no row affects others."""
        if self.size.matmul == "float32":
            return str(self.add("MatMul", x, self.constant(weight)))
        scale = np.maximum(np.abs(weight).max(axis=0), 1e-8) / 63
        quantized = np.clip(np.round(weight / scale), -63, 63).astype(np.int8)
        axes = self.integers(*([-1] if self.size.matmul == "rows" else []))
        largest = self.add("ReduceMax", self.add("Abs", x), axes, keepdims=1)
        row = self.add("Max", self.add("Mul", largest, self.constant(1 / 127)), self.constant(1e-8))
        whole = self.add("Round", self.add("Div", x, row))
        shifted = self.add("Add", whole, self.constant(128.0))
        cast = self.add("Cast", shifted, to=TensorProto.UINT8)
        zero = self.constant(128, np.uint8)
        product = self.add("MatMulInteger", cast, self.constant(quantized, np.int8), zero)
        real = self.add("Cast", product, to=TensorProto.FLOAT)
        return str(self.add("Mul", self.add("Mul", real, row), self.constant(scale)))


def build_graph(size: Size, classes: int = 0) -> bytes:
    """A model that predicts the next token; with `classes`, one that classifies."""
    random = np.random.default_rng(size.seed)
    width = size.width
    builder = Builder(size)

    def draw(*shape: int) -> Floats:
        values = random.standard_normal(shape) / np.sqrt(shape[0])
        drawn: Floats = values.astype(np.float32)
        return drawn

    embedding = draw(size.vocabulary, width) * np.float32(np.sqrt(size.vocabulary))
    table = builder.constant(embedding)
    x = builder.add("Gather", table, "tokens")
    mask = _add_mask(builder)
    states: list[str] = []
    for block in range(size.blocks):
        gates = builder.add(
            "Add",
            builder.multiply(x, draw(width, 2 * width)),
            builder.constant(draw(1, 2 * width)[0]),
        )
        gate, candidate = builder.add("Split", gates, outputs=2, axis=2, num_outputs=2)
        z = builder.add("Mul", builder.add("Sigmoid", gate), mask)
        keep = builder.add("Sub", builder.constant(1.0), z)
        new = builder.add("Mul", z, builder.add("Tanh", candidate))
        state, hidden = _add_recurrence(builder, f"state_{block}", keep, new)
        states.append(state)
        x = builder.add("Add", x, builder.multiply(hidden, draw(width, width)))
    if classes:
        output = _add_classifier(builder, x, mask, states, draw(2 * width, classes))
        output_shape: list[str | int] = ["batch", classes]
    else:
        rows = builder.add("Reshape", x, builder.integers(-1, width))
        chosen = builder.add("Gather", rows, "positions")
        tied = (embedding.T / np.sqrt(width)).astype(np.float32)
        output = builder.multiply(chosen, tied)
        output_shape = ["rows", size.vocabulary]
    return _write(builder, output, output_shape, states, classes)


def _add_mask(builder: Builder) -> str:
    """1 where a row has a token, else 0: (B, T, 1)."""
    steps = builder.add(
        "Range",
        builder.constant(0, np.int64),
        builder.add("Gather", builder.add("Shape", "tokens"), builder.constant(1, np.int64)),
        builder.constant(1, np.int64),
    )
    lengths = builder.add("Unsqueeze", "lengths", builder.integers(1))
    inside = builder.add("Cast", builder.add("Less", steps, lengths), to=TensorProto.FLOAT)
    return str(builder.add("Unsqueeze", inside, builder.integers(2)))


def _add_recurrence(builder: Builder, state: str, keep: str, new: str) -> list[str]:
    """The state after the piece (B, D), and the states after each token (B, T, D)."""
    shape: list[str | int | None] = ["batch", builder.size.width]
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["before", "keep"], ["kept"]),
            helper.make_node("Add", ["kept", "new"], ["after"]),
            helper.make_node("Identity", ["after"], ["each"]),
        ],
        "step",
        [value(name, TensorProto.FLOAT, shape) for name in ("before", "keep", "new")],
        [value(name, TensorProto.FLOAT, shape) for name in ("after", "each")],
    )
    found: list[str] = builder.add(
        "Scan",
        state,
        keep,
        new,
        outputs=2,
        body=body,
        num_scan_inputs=2,
        scan_input_axes=[1, 1],
        scan_output_axes=[1],
    )
    return found


def _add_classifier(builder: Builder, x: str, mask: str, states: list[str], weight: Floats) -> str:
    """Class probabilities from the last state and the mean over all tokens read so far."""
    total = builder.add(
        "Add",
        "total",
        builder.add("ReduceSum", builder.add("Mul", x, mask), builder.integers(1), keepdims=0),
    )
    count = builder.add(
        "Add", "count", builder.add("ReduceSum", mask, builder.integers(1), keepdims=0)
    )
    states += [total, count]
    mean = builder.add("Div", total, builder.add("Max", count, builder.constant(1.0)))
    pooled = builder.add("Concat", states[builder.size.blocks - 1], mean, axis=1)
    length = builder.add("ReduceL2", pooled, builder.integers(1), keepdims=1)
    unit = builder.add("Div", pooled, builder.add("Max", length, builder.constant(1e-6)))
    builder.nodes.append(helper.make_node("Identity", [unit], ["embedding"]))
    scores = builder.multiply(pooled, weight)
    return str(builder.add("Softmax", scores, axis=-1))


def _write(
    builder: Builder, output: str, shape: list[str | int], states: list[str], classes: int
) -> bytes:
    value, real, whole = helper.make_tensor_value_info, TensorProto.FLOAT, TensorProto.INT64
    name = "probabilities" if classes else "logits"
    inputs = [value("tokens", whole, ["batch", "time"]), value("lengths", whole, ["batch"])]
    inputs += [] if classes else [value("positions", whole, ["rows"])]
    outputs = [value(name, real, shape)]
    builder.nodes.append(helper.make_node("Identity", [output], [name]))
    if classes:
        outputs.append(value("embedding", real, ["batch", 2 * builder.size.width]))
    for (state, width), after in zip(list_states(builder.size, classes), states, strict=True):
        inputs.append(value(state, real, ["batch", width]))
        outputs.append(value(f"next_{state}", real, ["batch", width]))
        builder.nodes.append(helper.make_node("Identity", [after], [f"next_{state}"]))
    weights = [numpy_helper.from_array(array, name) for name, array in builder.weights.items()]
    graph = helper.make_graph(builder.nodes, "text", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def list_states(size: Size, classes: int) -> list[tuple[str, int]]:
    """The states' names and widths."""
    states = [(f"state_{block}", size.width) for block in range(size.blocks)]
    return states + ([("total", size.width), ("count", 1)] if classes else [])


def train_tokenizer(vocabulary: int, texts: Sequence[str] = SENTENCES) -> bytes:
    """The `tokenizer.json` of byte-level BPE; token 0 ends a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(byte_characters()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str()).encode()


def describe(size: Size, classes: int, **options: Any) -> SequenceModel:
    """The manifest's section for these graphs."""
    states = tuple(
        SequenceState(name, f"next_{name}", "float32", (width,))
        for name, width in list_states(size, classes)
    )
    return SequenceModel(
        tokenizer="tokenizer.json",
        tokens="tokens",
        lengths="lengths",
        positions=None if classes else "positions",
        output="probabilities" if classes else "logits",
        states=states,
        start=0,
        end=() if classes else (0,),
        embedding="embedding" if classes else None,
        **options,
    )


def write_writer(
    folder: Path,
    size: Size = Size(),
    name: str = "writer",
    texts: Sequence[str] = SENTENCES,
    metrics: dict[str, float] | None = None,
    **options: Any,
) -> Bundle:
    """A bundle that continues texts."""
    manifest = Manifest(
        name=name,
        task="text-generation",
        signature=Signature((Text("prompt", 20_000),), (Text("text", 1_000_000),)),
        title="A writer",
        metrics=metrics or {},
        sequence=describe(size, 0, **options),
    )
    files = {
        "model.onnx": build_graph(size),
        "tokenizer.json": train_tokenizer(size.vocabulary, texts),
    }
    return write_bundle(folder, manifest, {**files})


def write_critic(
    folder: Path, size: Size = Size(), name: str = "critic", source: dict[str, Json] | None = None
) -> Bundle:
    """A bundle that classifies texts as negative or positive."""
    from modelpad.fields import Binding

    signature = Signature(
        (Text("text", 1_000_000),),
        (Label("label", ("negative", "positive")),),
        output_bindings=(Binding("probabilities"),),
    )
    manifest = Manifest(
        name=name,
        task="text-classification",
        signature=signature,
        title="A critic",
        source=source or {},
        sequence=describe(size, 2),
    )
    files = {"model.onnx": build_graph(size, 2), "tokenizer.json": train_tokenizer(size.vocabulary)}
    return write_bundle(folder, manifest, {**files})
