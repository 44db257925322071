"""The manifest's `sequence`: how the graph of a language model reads a text piece by piece.

The graph takes a piece of each text and the states in which the piece before it ended. It returns
the states after the piece, and outputs. Recurrent networks and transformers with a cache of keys
and values both fit. `docs/bundle-format.md` specifies the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelpad.foreign_json import (
    Json,
    as_object,
    integer_at,
    list_at,
    object_at,
    optional_integer_at,
    text_at,
)

MAX_STATES = 1024
MAX_STATE_RANK = 8
MAX_STATE_SIDE = 1 << 24
STATE_DTYPES = ("float32", "float16", "int64", "int32", "int8", "uint8", "bool")
KEYS = (
    *("tokenizer", "tokens", "lengths", "positions", "output", "states", "start", "end"),
    *("context", "chat_template"),
)
OPTIONAL_KEYS = ("offsets", "embedding")


@dataclass(frozen=True, slots=True)
class SequenceState:
    """A state of the graph: the input that it is read from and the output that replaces it.

    `shape` is that of one text, without the batch axis in front. Of a state that grows by one entry
    a token, such as a cache of keys, one side is -1. Other states start with zeros, growing ones
    empty.
    """

    input: str
    output: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in STATE_DTYPES:
            raise ValueError(f"a state has the dtype {self.dtype!r}")
        if len(self.shape) > MAX_STATE_RANK or self.shape.count(-1) > 1:
            raise ValueError(f"a state has the shape {[*self.shape]}")
        if any(side != -1 and not 1 <= side <= MAX_STATE_SIDE for side in self.shape):
            raise ValueError(f"a state has the shape {[*self.shape]}")

    @property
    def growing_axis(self) -> int | None:
        """The axis, without the batch axis, that has an entry for each token; None if none has."""
        return self.shape.index(-1) if -1 in self.shape else None

    def to_dict(self) -> dict[str, Json]:
        """Its entry in the manifest."""
        return {
            "input": self.input,
            "output": self.output,
            "dtype": self.dtype,
            "shape": [*self.shape],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> SequenceState:
        """The inverse of `to_dict`. Raises `KeyError`, `TypeError` or `ValueError`."""
        check_keys(record, ("input", "output", "dtype", "shape"))
        shape = tuple(_integer(side, "a side") for side in list_at(record, "shape"))
        return cls(
            text_at(record, "input"), text_at(record, "output"), text_at(record, "dtype"), shape
        )


@dataclass(frozen=True, slots=True)
class SequenceModel:
    """The tensors of a graph that reads token sequences in pieces, and their tokenizer.

    `tokens` int64 (B, T) are padded on the right; `lengths` int64 (B,) count the valid ones of each
    row, and may be 0. `positions` int64 (R,) are the rows of the flattened hidden states (B * T)
    that outputs are computed for; None if there is one output for each text. `offsets`, if the
    graph has it, int64 (B,), counts the valid entries of each row's growing states, which are then
    padded on the right; without it, only texts of equal length run together.

    `output` float32 is (R, V) logits of the next token, or (B, C) scores of classes. `start` is put
    before every text, a token in `end` ends a generated one. `context` is the largest number of
    tokens that growing states may hold. `tokenizer` is a file of the bundle. `embedding`, if the
    graph has it, is an output float32 (B, E): a vector of unit length for each text so far.
    """

    tokenizer: str
    tokens: str
    lengths: str
    positions: str | None
    output: str
    states: tuple[SequenceState, ...]
    start: int | None = None
    end: tuple[int, ...] = ()
    context: int | None = None
    chat_template: str | None = None
    offsets: str | None = None
    embedding: str | None = None

    def __post_init__(self) -> None:
        if len(self.states) > MAX_STATES:
            raise ValueError(f"there are {len(self.states)} states")
        for names in (self.input_names, self.output_names):
            if len({*names}) != len(names):
                raise ValueError(f"duplicate tensors: {', '.join(names)}")
        if self.embedding is not None and self.embedding in self.output_names:
            raise ValueError(f"duplicate tensors: {self.embedding}")
        if any(token < 0 for token in self.end) or (self.start is not None and self.start < 0):
            raise ValueError("a token is negative")
        if self.context is not None and self.context < 1:
            raise ValueError(f"context is {self.context}")

    @property
    def input_names(self) -> list[str]:
        """The names of all the graph's inputs."""
        given = (self.tokens, self.lengths, self.positions, self.offsets)
        return [name for name in given if name is not None] + [each.input for each in self.states]

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs that are always used, the states' last."""
        return [self.output, *(each.output for each in self.states)]

    @property
    def generates(self) -> bool:
        """Whether the graph predicts the next token; otherwise it classifies."""
        return self.positions is not None

    @property
    def grows(self) -> bool:
        """Whether the memory of a text grows with its length."""
        return any(each.growing_axis is not None for each in self.states)

    def to_dict(self) -> dict[str, Json]:
        """The section in the manifest."""
        return {
            "tokenizer": self.tokenizer,
            "tokens": self.tokens,
            "lengths": self.lengths,
            "positions": self.positions,
            "offsets": self.offsets,
            "embedding": self.embedding,
            "output": self.output,
            "states": [each.to_dict() for each in self.states],
            "start": self.start,
            "end": [*self.end],
            "context": self.context,
            "chat_template": self.chat_template,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> SequenceModel:
        """The inverse of `to_dict`. Raises `KeyError`, `TypeError` or `ValueError`."""
        check_keys(record, KEYS, OPTIONAL_KEYS)
        states = [as_object(each, "a state") for each in list_at(record, "states")]
        return cls(
            tokenizer=text_at(record, "tokenizer"),
            tokens=text_at(record, "tokens"),
            lengths=text_at(record, "lengths"),
            positions=_optional_text_at(record, "positions"),
            output=text_at(record, "output"),
            states=tuple(SequenceState.from_dict(each) for each in states),
            start=optional_integer_at(record, "start"),
            end=tuple(_integer(token, "an end token") for token in list_at(record, "end")),
            context=optional_integer_at(record, "context"),
            chat_template=_optional_text_at(record, "chat_template"),
            offsets=_optional_text_at(record, "offsets"),
            embedding=_optional_text_at(record, "embedding"),
        )


def read_sequence(record: Mapping[str, Json], files: Mapping[str, object]) -> SequenceModel | None:
    """The sequence section of a manifest with these files; None if it has none.

    Raises `KeyError`, `TypeError` or `ValueError`.
    """
    if record.get("sequence") is None:
        return None
    sequence = SequenceModel.from_dict(object_at(record, "sequence"))
    if sequence.tokenizer not in files:
        raise ValueError(f"the tokenizer {sequence.tokenizer!r} is not listed")
    return sequence


def check_keys(
    record: Mapping[str, Json], names: tuple[str, ...], optional: tuple[str, ...] = ()
) -> None:
    """Raises `KeyError` for a missing key, and `ValueError` for an unknown one."""
    for name in names:
        if name not in record:
            raise KeyError(name)
    for name in record:
        if name not in names and name not in optional:
            raise ValueError(f"unknown key {name!r:.40}")


def _integer(value: Json, name: str) -> int:
    return integer_at({name: value}, name)


def _optional_text_at(record: Mapping[str, Json], key: str) -> str | None:
    return None if record.get(key) is None else text_at(record, key)
