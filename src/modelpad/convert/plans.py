"""Plans: which field stands for which tensor of a model, and the steps between the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from modelpad.convert.source import TensorSpec
from modelpad.fields import Binding, Field, Signature, Tokenizer, field_from_dict
from modelpad.fields.arrays import Arrays
from modelpad.fields.steps import Step


@dataclass(frozen=True, slots=True)
class InputPlan:
    """A field, the model's tensor for it, and the steps from the field to the tensor.

    Several fields with a `column` each share the tensor of a table. A `tokenizer` fills several
    tensors; `spec` is the first.
    """

    field: Field
    spec: TensorSpec
    steps: tuple[Step, ...] = ()
    note: str = ""
    column: int | None = None
    tokenizer: Tokenizer | None = None

    def renamed(self, name: str) -> InputPlan:
        """A copy whose field has another name."""
        return replace(self, field=rename_field(self.field, name))

    @property
    def binding(self) -> Binding:
        """How the field maps to the tensor."""
        return Binding(
            self.spec.name, self.steps, self.spec.batch_axis, self.column, self.tokenizer
        )


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """A field, the model's tensor for it, and the steps from the tensor to the field."""

    field: Field
    spec: TensorSpec
    steps: tuple[Step, ...] = ()
    note: str = ""

    def renamed(self, name: str) -> OutputPlan:
        """A copy whose field has another name."""
        return replace(self, field=rename_field(self.field, name))

    @property
    def binding(self) -> Binding:
        """How the field maps to the tensor."""
        return Binding(self.spec.name, self.steps, self.spec.batch_axis)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a model's inputs beyond their specs.

    `scales` has the pixel range that each input expects (see `scaling.find_scale`), or None.
    `items` are raw inputs that the model accepts. With `ask`, an unknown pixel range is an error,
    else the input stays a tensor. `tokenizer` turns text into some of the inputs.
    """

    scales: Mapping[str, str | None]
    items: Sequence[Arrays] = ()
    ask: bool = True
    tokenizer: Tokenizer | None = None


def make_signature(
    inputs: Sequence[InputPlan],
    outputs: Sequence[OutputPlan],
    others: Sequence[TensorSpec] = (),
    *,
    batched: bool = True,
) -> Signature:
    """The signature that plans describe, and outputs that no field shows.

    `batched`: several items may run together.
    """
    return Signature(
        tuple(plan.field for plan in inputs),
        tuple(plan.field for plan in outputs),
        tuple(plan.binding for plan in inputs),
        tuple(plan.binding for plan in outputs),
        batched,
        tuple(Binding(spec.name, (), spec.batch_axis) for spec in others),
    )


def rename_field(field: Field, name: str) -> Field:
    """A copy of a field with another name."""
    return field_from_dict({**field.to_dict(), "name": name})
