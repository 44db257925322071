"""Plans tables: a named number or choice for each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modelpad.convert.plans import InputPlan
from modelpad.convert.source import TensorSpec
from modelpad.convert.specs import COLUMN_EXAMPLE, COLUMN_KINDS, InputSpec
from modelpad.errors import UsageError
from modelpad.fields import Choice, Field, Number, Text
from modelpad.fields.arrays import Array, Arrays
from modelpad.fields.steps import Cast, Reshape, Step

MAX_COLUMNS = 100  # a model with more columns takes its rows as lists


def is_table(tensor: TensorSpec, inputs: Sequence[TensorSpec]) -> bool:
    """Whether a tensor has named columns, or is itself one of several columns."""
    if tensor.columns:
        return len(tensor.columns) <= MAX_COLUMNS
    return 1 < len(inputs) <= MAX_COLUMNS and all(_is_column(each) for each in inputs)


def split_specs(specs: Sequence[InputSpec]) -> tuple[list[InputSpec], list[InputSpec]]:
    """The specs of tensors, and those of a table's columns."""
    columns = [spec for spec in specs if spec.kind in COLUMN_KINDS]
    return [spec for spec in specs if spec.kind not in COLUMN_KINDS], columns


def match_columns(
    specs: Sequence[InputSpec], tensors: Sequence[TensorSpec]
) -> dict[str, InputSpec]:
    """The specs by column. Raises `UsageError` for an unknown or repeated column."""
    names = [name for each in tensors for name in each.columns or (each.name,)]
    matched: dict[str, InputSpec] = {}
    for spec in specs:
        name = spec.name or ""
        if name not in names:
            raise UsageError(
                f"The model has no column {name!r}.", hint=f"It has: {', '.join(names)}."
            )
        if name in matched:
            raise UsageError(f"--input for {name!r} is given twice.", hint="Give it once.")
        matched[name] = spec
    return matched


def plan_columns(
    tensor: TensorSpec, items: Sequence[Arrays], specs: Mapping[str, InputSpec]
) -> list[InputPlan]:
    """The plans for a table's columns. `items` are raw inputs that the model accepts."""
    if not tensor.columns:
        return [_plan_column(tensor, items, specs.get(tensor.name))]
    values = [item[tensor.name].reshape(-1) for item in items if tensor.name in item]
    plans = []
    for index, name in enumerate(tensor.columns):
        seen = [row[index] for row in values if index < len(row)]
        field = _make_field(name, tensor.dtype, seen, specs.get(name))
        plans.append(InputPlan(field, tensor, (Cast(tensor.dtype),), column=index))
    return plans


def _is_column(tensor: TensorSpec) -> bool:
    return tensor.batch_axis == 0 and all(side == 1 for side in tensor.item_shape)


def _plan_column(tensor: TensorSpec, items: Sequence[Arrays], spec: InputSpec | None) -> InputPlan:
    values = [item[tensor.name].reshape(-1)[0] for item in items if tensor.name in item]
    sides = tensor.item_shape
    shape: tuple[Step, ...] = (Reshape((1,) * len(sides)),) if sides else ()
    choices = tensor.choices
    if tensor.dtype == "string":
        if spec and spec.choices:
            choices = spec.choices
        if not choices:
            return InputPlan(Text(tensor.name), tensor, shape)
    if choices and (spec is None or spec.kind == "choice"):
        others = (spec is not None and "other" in spec.options) or (
            not (spec and spec.choices) and any(value not in choices for value in values)
        )
        field: Field = Choice(tensor.name, choices, allow_other=others)
        steps = shape if tensor.dtype == "string" else (Cast(tensor.dtype), *shape)
        return InputPlan(field, tensor, steps)
    field = _make_field(tensor.name, tensor.dtype, values, spec)
    return InputPlan(field, tensor, (Cast(tensor.dtype), *shape))


def _make_field(
    name: str, dtype: str, values: Sequence[object], spec: InputSpec | None
) -> Number | Choice:
    """The field of a numeric column. It may be missing where a value that the model accepts is."""
    options = spec.options if spec else {}
    if spec and spec.kind == "choice":
        return Choice(name, _read_integers(name, spec.choices), allow_other="other" in options)
    whole = np.dtype(dtype).kind in "iub" or "whole" in options
    missing = np.dtype(dtype).kind == "f" and any(_is_nan(value) for value in values)
    return Number(
        name,
        unit=options.get("unit", ""),
        minimum=_read_number(name, options.get("min")),
        maximum=_read_number(name, options.get("max")),
        whole=whole,
        nullable="nullable" in options or (missing and spec is None),
    )


def _read_number(name: str, text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        raise UsageError(f"{name}: {text!r} is not a number.", hint=COLUMN_EXAMPLE) from None


def _read_integers(name: str, words: Sequence[str]) -> tuple[int, ...]:
    """The choices of a numeric column. Raises `UsageError` unless they are whole numbers."""
    try:
        return tuple(int(word) for word in words)
    except ValueError:
        raise UsageError(
            f"The column {name!r} holds numbers, so its choices must be whole numbers.",
            hint="Give the codes that the model was trained with: --input NAME=choice:0,1,2",
        ) from None


def _is_nan(value: object) -> bool:
    array: Array = np.asarray(value)
    return array.dtype.kind == "f" and bool(np.isnan(array.astype(np.float64)).any())
