"""Plans tables: a named number or choice for each column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelpad.convert.plans import InputPlan
from modelpad.convert.source import TensorSpec
from modelpad.fields import Choice, Field, Number, Text
from modelpad.fields.arrays import Array, Arrays
from modelpad.fields.steps import Cast, Reshape, Step

MAX_COLUMNS = 100  # a model with more columns takes its rows as lists


def is_table(tensor: TensorSpec, inputs: Sequence[TensorSpec]) -> bool:
    """Whether a tensor has named columns, or is itself one of several columns."""
    if tensor.columns:
        return len(tensor.columns) <= MAX_COLUMNS
    return 1 < len(inputs) <= MAX_COLUMNS and all(_is_column(each) for each in inputs)


def plan_columns(tensor: TensorSpec, items: Sequence[Arrays]) -> list[InputPlan]:
    """The plans for a table's columns. `items` are raw inputs that the model accepts."""
    if not tensor.columns:
        return [_plan_column(tensor, items)]
    values = [item[tensor.name].reshape(-1) for item in items if tensor.name in item]
    return [
        InputPlan(
            _number(name, tensor.dtype, [row[index] for row in values if index < len(row)]),
            tensor,
            (Cast(tensor.dtype),),
            column=index,
        )
        for index, name in enumerate(tensor.columns)
    ]


def _is_column(tensor: TensorSpec) -> bool:
    return tensor.batch_axis == 0 and all(side == 1 for side in tensor.item_shape)


def _plan_column(tensor: TensorSpec, items: Sequence[Arrays]) -> InputPlan:
    values = [item[tensor.name].reshape(-1)[0] for item in items if tensor.name in item]
    sides = tensor.item_shape
    shape: tuple[Step, ...] = (Reshape((1,) * len(sides)),) if sides else ()
    field: Field
    if tensor.choices:
        others = any(value not in tensor.choices for value in values)
        field = Choice(tensor.name, tensor.choices, allow_other=others)
        if field.dtype == "string":
            return InputPlan(field, tensor, shape)
    elif tensor.dtype == "string":
        return InputPlan(Text(tensor.name), tensor, shape)
    else:
        field = _number(tensor.name, tensor.dtype, values)
    return InputPlan(field, tensor, (Cast(tensor.dtype), *shape))


def _number(name: str, dtype: str, values: Sequence[object]) -> Number:
    """A number; it may be missing where a value that the model accepts is."""
    whole = np.dtype(dtype).kind in "iub"
    missing = not whole and any(_is_nan(value) for value in values)
    return Number(name, whole=whole, nullable=missing)


def _is_nan(value: object) -> bool:
    array: Array = np.asarray(value)
    return array.dtype.kind == "f" and bool(np.isnan(array.astype(np.float64)).any())
