"""The networks as ONNX graphs that read texts piece by piece and carry explicit states.

Inputs are `tokens` int64 (B, T), padded on the right; `lengths` int64 (B,), which may be 0: then a
state stays exactly as it is; the states; and for a language model `positions` int64 (R,), the rows
of the (B * T) hidden vectors that logits are wanted for.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from modelpad.recipes.text.graph_builder import Array, Floats, GraphBuilder, Precision
from modelpad.recipes.text.network import (
    Classifier,
    Encoder,
    LanguageModel,
    LstmLayers,
)
from modelpad.recipes.text.phrases import FACTOR, LONG, MODULUS, TAGS, Phrases

if TYPE_CHECKING:
    from onnx import ModelProto

TOKENS, LENGTHS, POSITIONS = "tokens", "lengths", "positions"
LOGITS, SCORES, EMBEDDING = "logits", "probabilities", "embedding"
EPSILON = 1e-5
DEVIATIONS = 8  # of normalised values that 8 bits tell apart
FLOAT, INT32, INT64 = 1, 6, 7  # of ONNX
END = np.iinfo(np.int64).max  # of a slice
GATES = (0, 3, 1, 2)  # ONNX has input, output, forget, cell; PyTorch input, forget, cell, output


def export_language(net: LanguageModel, precision: Precision = "float32") -> ModelProto:
    """The graph of a language model: logits float32 (R, V) of the next tokens."""
    build = GraphBuilder(precision)
    weights = read_parameters(net)
    reader = _Reader(build, net.encoder, weights, "encoder.")
    chosen = reader.read_states(build.input(POSITIONS, "int64", "rows"))
    hidden = reader.normalise(chosen, "norm.weight")
    left = build.linear(hidden, "leave.weight", weights["leave.weight"])
    name = "encoder.embedding.weight"
    bias = build.constant(weights["bias"], "bias")
    logits = build("Add", build.tied(left, name, weights[name]), bias)
    build.output(logits, LOGITS, "float32", "rows", net.encoder.shape.vocabulary)
    reader.finish()
    return build.build()


def export_classifier(
    net: Classifier,
    temperature: float = 1.0,
    precision: Precision = "float32",
    phrases: Phrases | None = None,
) -> ModelProto:
    """The graph of a classifier: probabilities float32 (B, C) of all that was read so far.

    Beside the encoder's states it carries the last, largest and summed hidden vectors, and how many
    there were; with `phrases`, also the last two tokens and the sum of what phrases weigh. A second
    output, float32 (B, 3 D), is the pooled vector at unit length.
    """
    build = GraphBuilder(precision)
    weights = read_parameters(net)
    reader = _Reader(build, net.encoder, weights, "encoder.")
    hidden = reader.normalise(reader.read_states(), "norm.weight")
    width = net.encoder.shape.width
    last = reader.state(width)
    last = reader.after(last, reader.keep_last(last, hidden))
    inside = build("Where", reader.valid, hidden, np.zeros(1, np.float32))
    largest = reader.state(width)
    peak = build("ReduceMax", inside, int64s(0), keepdims=0)
    largest = reader.after(largest, build("Max", largest, peak))
    total = reader.state(width)
    added = build("ReduceSum", inside, int64s(0), keepdims=0)
    total = reader.after(total, build("Add", total, added))
    count = reader.state(1)
    read = build("Unsqueeze", build("Cast", LENGTHS, to=FLOAT), int64s(1))
    count = reader.after(count, build("Add", count, read))
    mean = build("Div", total, build("Max", count, np.ones(1, np.float32)))
    pooled = build("Concat", last, largest, mean, axis=1)
    inner = build.linear(pooled, "first.weight", weights["first.weight"], weights["first.bias"])
    inner = build("Relu", inner)
    logits = build.linear(inner, "second.weight", weights["second.weight"], weights["second.bias"])
    logits = build("Div", logits, np.full(1, temperature, np.float32))
    if phrases is not None:
        logits = build("Add", logits, reader.read_phrases(phrases, count))
    scores = build("Softmax", logits, axis=-1)
    build.output(scores, SCORES, "float32", "batch", net.second.out_features)
    length = build("ReduceL2", pooled, int64s(1), keepdims=1)
    unit = build("Div", pooled, build("Max", length, np.full(1, EPSILON, np.float32)))
    build.output(unit, EMBEDDING, "float32", "batch", 3 * width)
    reader.finish()
    return build.build()


def read_parameters(net: nn.Module) -> dict[str, Floats]:
    """All weights by name, as float32 arrays."""
    return {name: value.detach().float().cpu().numpy() for name, value in net.state_dict().items()}


def int64s(*values: int) -> Array:
    """A constant of int64."""
    return np.array(values, np.int64)


class _Reader:
    """Adds an encoder to a graph, with its states."""

    def __init__(
        self, build: GraphBuilder, encoder: Encoder, weights: dict[str, Floats], prefix: str
    ) -> None:
        self.build, self.encoder, self.weights, self.prefix = build, encoder, weights, prefix
        self._states: list[tuple[int, str]] = []
        tokens = build.input(TOKENS, "int64", "batch", "time")
        lengths = build.input(LENGTHS, "int64", "batch")
        self.tokens = build("Transpose", tokens, perm=[1, 0])
        shape = build("Shape", self.tokens)
        self.time, self.batch = build.several("Split", 2, shape, num_outputs=2)
        # Where each text's last valid value is, if one more is put in front of all.
        self.places = build("Add", build("Mul", lengths, self.batch), self._count(self.batch))
        self.ends = build("Max", build("Sub", self.places, self.batch), int64s(0))
        self.some = build("Unsqueeze", build("Greater", lengths, int64s(0)), int64s(1))

    @cached_property
    def valid(self) -> str:
        """Which tokens are not padding, bool (T, B, 1)."""
        build = self.build
        steps = build("Unsqueeze", self._count(self.time), int64s(1))
        return build("Unsqueeze", build("Less", steps, LENGTHS), int64s(2))

    def _count(self, size: str) -> str:
        """Numbers from 0, int64 (size,)."""
        zero, one = np.array(0, np.int64), np.array(1, np.int64)
        return self.build("Range", zero, self.build("Squeeze", size), one)

    def state(self, size: int) -> str:
        """Declares the next state (B, size), float32."""
        name = f"state_{len(self._states)}"
        self._states.append((size, ""))
        return self.build.input(name, "float32", "batch", size)

    def after(self, state: str, value: str) -> str:
        """Says what a state becomes; returns that."""
        number = int(state.removeprefix("state_"))
        self._states[number] = (self._states[number][0], value)
        return value

    def finish(self) -> None:
        """Declares the states' outputs, after those of the model."""
        for number, (size, value) in enumerate(self._states):
            self.build.output(value, f"next_state_{number}", "float32", "batch", size)

    def read_states(self, positions: str = "") -> str:
        """The values (T, B, D) of all tokens, before the last normalisation.

        With `positions` (R,) in (B * T), only their values, (R, D): a last block computes what
        others need of it, and no more.
        """
        build, shape = self.build, self.encoder.shape
        table, factor = f"{self.prefix}embedding.weight", shape.embedding**0.5
        rows = self.weights[table]
        wanted = self._turn(positions) if positions else ""
        if isinstance(self.encoder.layers, LstmLayers):
            embedded = build.embed(self.tokens, table, rows)
            values = build("Mul", embedded, np.full(1, factor, np.float32))
            for number in range(shape.blocks):
                values = self._read_lstm(number, values)
            return self._choose(values, wanted)
        enter = f"{self.prefix}layers.enter.weight"
        values = build.embed_linear(self.tokens, table, rows, factor, enter, self.weights[enter])
        for number in range(shape.blocks):
            is_last = number == shape.blocks - 1
            values = self._read_gated(number, values, wanted if is_last else "")
        return values

    def _turn(self, positions: str) -> str:
        """Positions in (B * T) as places in (T * B)."""
        build = self.build
        step = build("Mul", build("Mod", positions, self.time), self.batch)
        return build("Add", step, build("Div", positions, self.time))

    def _choose(self, values: str, wanted: str) -> str:
        """Values (R, D) at places of values (T, B, D), or all of them if there are no places."""
        if not wanted:
            return values
        flat = self.build("Reshape", values, int64s(-1, self.encoder.shape.width))
        return self.build("Gather", flat, wanted, axis=0)

    def read_phrases(self, phrases: Phrases, count: str) -> str:
        """The logits (B, C) of tokens and phrases of texts of `count` (B, 1) tokens so far."""
        build = self.build
        before = self.state(2)
        entered = build("Transpose", build("Cast", before, to=INT64), perm=[1, 0])
        led = build("Concat", entered, self.tokens, axis=0)
        flat = build("Reshape", led, int64s(-1))
        ends = [self.places, build("Add", self.places, self.batch)]
        last = [build("Unsqueeze", build("Gather", flat, end), int64s(1)) for end in ends]
        self.after(before, build("Cast", build("Concat", *last, axis=1), to=FLOAT))

        pairs = self._join(build("Slice", led, int64s(0), int64s(-1), int64s(0)),
                           build("Slice", led, int64s(1), int64s(END), int64s(0)))  # fmt: skip
        earlier = build("Slice", pairs, int64s(0), int64s(-1), int64s(0))
        pairs = build("Slice", pairs, int64s(1), int64s(END), int64s(0))
        tags = build.constant(phrases.tags, "phrases.tags")
        slots = np.array(len(phrases.tags), np.int64)
        inside = build("Squeeze", self.valid, int64s(2))
        places, known = [self.tokens], [inside]
        for keys in (pairs, self._join(earlier, self.tokens)):
            slot = build("Mod", keys, slots)
            tag = build("Mod", build("Div", keys, slots), np.array(TAGS, np.int64))
            tag = build("Add", tag, np.array(1, np.int64))
            same = build("Equal", build("Cast", build("Gather", tags, slot), to=INT64), tag)
            places.append(build("Add", slot, np.array(phrases.vocabulary, np.int64)))
            known.append(build("And", inside, same))
        weights = build.look_up(build("Concat", *places, axis=0), "phrases", phrases.weights)
        counted = build("Unsqueeze", build("Concat", *known, axis=0), int64s(2))
        weights = build("Where", counted, weights, np.zeros(1, np.float32))
        total = self.state(phrases.weights.shape[1])
        added = build("ReduceSum", weights, int64s(0), keepdims=0)
        total = self.after(total, build("Add", total, added))
        some = build("Max", count, np.ones(1, np.float32))
        mean = build("Div", some, np.full(1, LONG**0.5, np.float32))
        size = build("Max", build("Sqrt", some), mean)
        found = build("Add", build("Div", total, size), phrases.bias)
        return build("MatMul", found, phrases.mix)

    def _join(self, before: str, now: str) -> str:
        """See `phrases.join`."""
        product = self.build("Mul", before, np.array(FACTOR, np.int64))
        return self.build("Mod", self.build("Add", product, now), np.array(MODULUS, np.int64))

    def normalise(self, values: str, name: str) -> str:
        """Layer normalisation with a weight of the encoder."""
        name = f"{self.prefix}{name}"
        scale = self.build.constant(self.weights[name], name)
        return self.build("LayerNormalization", values, scale, axis=-1, epsilon=EPSILON)

    def keep_last(self, before: str, values: str) -> str:
        """The last valid ones of values (T, B, D), or those `before` (B, D) where there is none."""
        return self.build("Where", self.some, self._choose(values, self.ends), before)

    def _read_gated(self, number: int, values: str, wanted: str) -> str:
        """See `GatedBlock.forward`. Returns the values at the `wanted` places, if there are."""
        build, width = self.build, self.encoder.shape.width
        name = f"layers.blocks.{number}."
        weights = {
            key: self.weights[f"{self.prefix}{name}{key}"]
            for key in ("mix", "gates.weight", "gates.bias", "merge.weight")
        }
        hidden, last = self.state(width), self.state(width)
        normal = self.normalise(values, f"{name}norm.weight")
        led = build("Concat", build("Unsqueeze", last, int64s(0)), normal, axis=0)
        self.after(last, self._choose(led, self.places))
        before = build("Slice", led, int64s(0), int64s(-1), int64s(0))
        mix = build.constant(weights["mix"], f"{self.prefix}{name}mix")
        mixed = build("Add", normal, build("Mul", mix, build("Sub", before, normal)))
        new, forget, output = build.linear_parts(
            (mixed, mixed, self._choose(mixed, wanted)),
            f"{self.prefix}{name}gates.weight",
            weights["gates.weight"],
            weights["gates.bias"],
            bound_mixed(self.weights[f"{self.prefix}{name}norm.weight"], weights["mix"]),
        )
        states = build.recur(build("Sigmoid", forget), new, hidden)
        self.after(hidden, self.keep_last(hidden, states))
        silu = build("Mul", output, build("Sigmoid", output))
        merge = f"{self.prefix}{name}merge.weight"
        shown = build("Mul", self._choose(states, wanted), silu)
        merged = build.linear(shown, merge, weights["merge.weight"])
        return build("Add", self._choose(values, wanted), merged)

    def _read_lstm(self, number: int, values: str) -> str:
        """One LSTM; where a text has no token in this piece, its states stay as they are."""
        build, width = self.build, self.encoder.shape.width
        name = f"{self.prefix}layers.blocks.{number}."
        into, recurrent = (
            build.stored(f"{name}{key}_l0", reorder(self.weights[f"{name}{key}_l0"]))
            for key in ("weight_ih", "weight_hh")
        )
        biases = [reorder(self.weights[f"{name}{key}_l0"]) for key in ("bias_ih", "bias_hh")]
        bias = build.constant(np.concatenate(biases)[None], f"{name}bias")
        states = [self.state(width), self.state(width)]
        outputs = build.several(
            "LSTM",
            3,
            values,
            build("Unsqueeze", into, int64s(0)),
            build("Unsqueeze", recurrent, int64s(0)),
            bias,
            build("Cast", LENGTHS, to=INT32),
            *(build("Unsqueeze", state, int64s(0)) for state in states),
            hidden_size=width,
        )
        for state, final in zip(states, outputs[1:], strict=True):
            last = build("Squeeze", final, int64s(0))
            self.after(state, build("Where", self.some, last, state))
        return build("Squeeze", outputs[0], int64s(1))


def bound_mixed(scale: Floats, mix: Floats) -> float:
    """What the mixed inputs of a gated block hardly exceed: some standard deviations.

    They are (1 - mix) * now + mix * before, of normalised values times `scale`.
    """
    return DEVIATIONS * float(np.max(np.abs(scale) * np.hypot(1 - mix, mix)))


def reorder(weight: Floats) -> Floats:
    """The gates of an LSTM's weights (4 D, ...) in the order of ONNX."""
    parts = np.split(weight, 4)
    return np.concatenate([parts[gate] for gate in GATES])


def restore(weight: Floats) -> Floats:
    """The inverse of `reorder`."""
    parts = np.split(weight, 4)
    return np.concatenate([parts[GATES.index(gate)] for gate in range(4)])
