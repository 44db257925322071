"""Field names and shapes, for the plans of both inputs and outputs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

from modelpad.convert.source import Shape, TensorSpec
from modelpad.convert.specs import InputSpec, OutputSpec
from modelpad.errors import UsageError
from modelpad.fields import Field

# Names that frameworks generate.
AUTOMATIC_NAME = re.compile(
    r"(keras_tensor|input_layer|input|inputs|output|outputs|x|args|identity|linear|float_input"
    r"|variable|probabilities|dense|gemm|softmax|activation|flatten|statefulpartitionedcall)?[_.\d]*",
    re.IGNORECASE,
)
CHANNELS_FIRST = ("pytorch", "torchscript", "fastai", "huggingface")

Spec = TypeVar("Spec", InputSpec, OutputSpec)


class Plan(Protocol):
    """An `InputPlan` or `OutputPlan`."""

    @property
    def field(self) -> Field: ...

    def renamed(self: PlanT, name: str) -> PlanT:
        """A copy whose field has another name."""


PlanT = TypeVar("PlanT", bound=Plan)


def match_specs(specs: Sequence[Spec], tensors: Sequence[TensorSpec], side: str) -> dict[str, Spec]:
    """The user's specs by tensor name. A spec without a name applies to the tensor at its position.

    Raises `UsageError` for an unknown name, too many specs, and duplicates.
    """
    matched: dict[str, Spec] = {}
    names = [tensor.name for tensor in tensors]
    for position, spec in enumerate(specs):
        name = spec.name if spec.name in names else None
        if spec.name is not None and name is None and len(tensors) > 1:
            raise UsageError(
                f"The model has no {side} {spec.name!r}.", hint=f"It has: {', '.join(names)}."
            )
        if name is None:
            if position >= len(tensors):
                raise UsageError(
                    f"--{side} is given {len(specs)} times, but the model has {len(tensors)}.",
                    hint=f"Its {side}s: {', '.join(names)}.",
                )
            name = names[position]
        if name in matched:
            raise UsageError(f"--{side} for {name!r} is given twice.", hint="Give it once.")
        matched[name] = spec
    return matched


def channel_axis(shape: Shape, layout: str) -> int | None:
    """The axis with 1 or 3 channels, 0 or 2; None if there is none.

    If both have, `layout` decides.
    """
    first, last = shape[0] in (1, 3), shape[2] in (1, 3)
    if first and last:
        return 0 if layout == "nchw" else 2
    return 0 if first else 2 if last else None


def choose_field_name(
    tensor: TensorSpec, spec: InputSpec | OutputSpec | None, default: str, is_only: bool
) -> str:
    """The user's name for a field, else the tensor's unless generated, else `default`."""
    if spec and spec.name:
        return spec.name
    own = re.sub(r"^serving_default_|:\d+$", "", tensor.name).rpartition("/")[2]
    if AUTOMATIC_NAME.fullmatch(own) or (is_only and default not in ("input", "output")):
        return default
    return re.sub(r"[^A-Za-z0-9_.-]", "_", own)


def deduplicate_names(plans: Sequence[PlanT]) -> tuple[PlanT, ...]:
    """The plans, with a number added to field names that occur more than once."""
    names = [plan.field.name for plan in plans]
    return tuple(
        plan.renamed(f"{name}{number}") if names.count(name) > 1 else plan
        for number, (name, plan) in enumerate(zip(names, plans, strict=True), 1)
    )


def format_shape(shape: Shape) -> str:
    """For example `[1, ?, 3]`."""
    return "[" + ", ".join("?" if side is None else str(side) for side in shape) + "]"


def format_sides(shape: Shape) -> str:
    """For example `1x?x3`."""
    return "x".join("?" if side is None else str(side) for side in shape)
