"""The named input fields and output fields of a model, and the tensors that they are bound to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import force_setattr

from modelpad.errors import BundleInvalid
from modelpad.fields.field import Field, check_sizes, default_of
from modelpad.fields.image import Image
from modelpad.fields.kinds import field_from_dict
from modelpad.fields.label import Label
from modelpad.fields.steps import Step, read_steps, step_to_dict
from modelpad.fields.tokenizer import Tokenizer
from modelpad.foreign_json import Json, as_object, list_at, optional_integer_at, text_at

MAX_AXIS = 31
MAX_COLUMN = 1_000_000


class Binding(msgspec.Struct, frozen=True):
    """How a field maps to a tensor of the graph.

    `steps` lead from an input field's array to the tensor, or from the tensor to an output field's
    array. `batch_axis` is the tensor's axis that counts items; None if it has none, and then
    requests run one at a time. Several fields with a `column` each form one table (batch, columns).
    A text field with a `tokenizer` fills all of the tokenizer's tensors; `tensor` is the first.
    """

    tensor: str
    steps: tuple[Step, ...] = ()
    batch_axis: int | None = 0
    column: int | None = None
    tokenizer: Tokenizer | None = None

    def __post_init__(self) -> None:
        check_sizes("batch_axis", self.batch_axis, minimum=0, maximum=MAX_AXIS)
        check_sizes("column", self.column, minimum=0, maximum=MAX_COLUMN)
        if self.tokenizer is not None and self.tokenizer.ids != self.tensor:
            raise ValueError(f"the tokenizer fills {self.tokenizer.ids!r}, not {self.tensor!r}")

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of all tensors that the field fills."""
        return self.tokenizer.tensors if self.tokenizer else (self.tensor,)

    def to_dict(self) -> dict[str, Json]:
        """Its part of a field's entry in a manifest."""
        tokenizer: dict[str, Json] = {}
        if self.tokenizer is not None:
            tokenizer = {"tokenizer": self.tokenizer.to_dict()}
        return {
            "tensor": self.tensor,
            "steps": [step_to_dict(step) for step in self.steps],
            "batch_axis": self.batch_axis,
            "column": self.column,
            **tokenizer,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Binding:
        if "batch_axis" not in record:
            raise KeyError("batch_axis")
        tokenizer = record.get("tokenizer")
        return cls(
            text_at(record, "tensor"),
            read_steps(record["steps"]),
            optional_integer_at(record, "batch_axis"),
            optional_integer_at(record, "column"),
            Tokenizer.from_dict(as_object(tokenizer, "tokenizer")) if tokenizer else None,
        )


class Signature(msgspec.Struct, frozen=True):
    """A model's inputs and outputs; names are unique on each side.

    The bindings are in the order of the fields. By default, each field is bound to the tensor of
    its own name, without steps. `batched` is whether several items may run together. No field
    shows the tensors of `other_outputs`; only tensor protocols return them. Among them are the
    labels' companions.
    """

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    input_bindings: tuple[Binding, ...] = ()
    output_bindings: tuple[Binding, ...] = ()
    batched: bool = True
    other_outputs: tuple[Binding, ...] = ()

    def __post_init__(self) -> None:
        for side, fields in (("input", self.inputs), ("output", self.outputs)):
            if not fields:
                raise ValueError(f"a signature needs at least one {side}")
            names = [each.name for each in fields]
            if len(set(names)) != len(names):
                raise ValueError(f"duplicate {side} names: {', '.join(names)}")
            bindings: tuple[Binding, ...] = getattr(self, f"{side}_bindings")
            if not bindings:
                bindings = tuple(Binding(name) for name in names)
                force_setattr(self, f"{side}_bindings", bindings)
            if len(bindings) != len(fields):
                raise ValueError(f"{len(bindings)} bindings for {len(fields)} {side}s")
        check_tables(self.input_bindings)
        for each, binding in zip(self.inputs, self.input_bindings, strict=True):
            if binding.tokenizer is not None and each.kind != "text":
                raise ValueError(f"the {each.kind} {each.name!r} cannot have a tokenizer")
        for tensor in self.companion_tensors:
            if tensor not in [binding.tensor for binding in self.other_outputs]:
                raise ValueError(f"the companion {tensor!r} is not one of the other outputs")
        names = [each.name for each in self.inputs]
        for label in self._labels:
            if label.heatmap is not None and label.heatmap.over not in names:
                raise ValueError(f"the heat map is over {label.heatmap.over!r}, which is no input")

    @property
    def required_inputs(self) -> tuple[Field, ...]:
        """The inputs without a default."""
        return tuple(each for each in self.inputs if default_of(each) is None)

    @property
    def is_picture(self) -> bool:
        """Whether the only output is a picture."""
        return len(self.outputs) == 1 and isinstance(self.outputs[0], Image)

    @property
    def repainted(self) -> Image | None:
        """The picture that the model paints anew: its input of any size, if it is a painter."""
        pictures = (each for each in self.inputs if isinstance(each, Image) and not each.height)
        return next(pictures, None) if self.is_picture else None

    @property
    def companion_tensors(self) -> tuple[str, ...]:
        """The graph's outputs that only add to a label: whether it is unknown, where it is seen."""
        return tuple(tensor for label in self._labels for tensor in label.companion_tensors)

    @property
    def _labels(self) -> list[Label]:
        return [each for each in self.outputs if isinstance(each, Label)]

    def to_dict(self) -> dict[str, Json]:
        """The signature's entry in a manifest."""
        return {
            "inputs": _describe(self.inputs, self.input_bindings),
            "outputs": _describe(self.outputs, self.output_bindings),
            "batched": self.batched,
            "other_outputs": [binding.to_dict() for binding in self.other_outputs],
        }

    def preparations(self) -> dict[str, dict[str, Json]]:
        """How the inputs are decoded, by field name, for those that are more than parsed."""
        found: dict[str, dict[str, Json]] = {}
        for each, binding in zip(self.inputs, self.input_bindings, strict=True):
            tokenizer = binding.tokenizer
            preparation = tokenizer.preparation() if tokenizer else each.preparation()
            if preparation:
                found[each.name] = preparation
        return found

    @classmethod
    def from_dict(cls, record: Mapping[str, Json]) -> Signature:
        """The inverse of `to_dict`. Raises `BundleInvalid`."""
        try:
            inputs, input_bindings = _read(record, "inputs")
            outputs, output_bindings = _read(record, "outputs")
            batched = record["batched"]
            if not isinstance(batched, bool):
                raise TypeError("batched is neither true nor false")
            others = [as_object(each, "a tensor") for each in list_at(record, "other_outputs")]
            unshown = tuple(Binding.from_dict(each) for each in others)
            return cls(inputs, outputs, input_bindings, output_bindings, batched, unshown)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleInvalid(
                f"The manifest has an invalid signature: {error}.",
                hint="It needs `inputs` and `outputs`, each a list of fields with their tensors.",
            ) from error


def check_tables(bindings: Sequence[Binding]) -> None:
    """Raises `ValueError` unless inputs that share a tensor are its columns, each exactly once."""
    columns: dict[str, list[int | None]] = {}
    for binding in bindings:
        for tensor in binding.tensors:
            columns.setdefault(tensor, []).append(binding.column)
    for tensor, found in columns.items():
        numbers = [number for number in found if number is not None]
        if found != [None] and sorted(numbers) != [*range(len(found))]:
            raise ValueError(f"the inputs of the tensor {tensor!r} are not its columns")


def _describe(fields: Sequence[Field], bindings: Sequence[Binding]) -> list[Json]:
    return [
        {**each.to_dict(), **binding.to_dict()}
        for each, binding in zip(fields, bindings, strict=True)
    ]


def _read(record: Mapping[str, Json], side: str) -> tuple[tuple[Field, ...], tuple[Binding, ...]]:
    records = [as_object(each, "a field") for each in list_at(record, side)]
    return (
        tuple(field_from_dict(each) for each in records),
        tuple(Binding.from_dict(each) for each in records),
    )
