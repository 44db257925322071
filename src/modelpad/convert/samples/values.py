"""A sample has a value for each field, as in a request: an encoded picture, text, nested lists."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelpad.convert.plans import InputPlan
from modelpad.engine.typed import TypedInputs, batch_first, place_batch
from modelpad.errors import ModelpadError, UsageError
from modelpad.fields.arrays import Arrays
from modelpad.fields.tokenizer import ReadFile
from modelpad.foreign_json import Json

Values: TypeAlias = "dict[str, bytes | Json]"

MAX_SAMPLES = 256
SINGLE = ("number", "choice")  # kinds of fields whose value is no list


def decode_samples(
    samples: Sequence[Values], plans: Sequence[InputPlan], read: ReadFile | None = None
) -> list[Arrays]:
    """Each sample as the model's raw inputs, by tensor name and without a batch axis.

    `read` reads a tokenizer's file.

    Raises:
        UsageError: a sample does not fit. The message names it and gives the reason.
    """
    typed = TypedInputs([plan.field for plan in plans], [plan.binding for plan in plans], read)
    axes = typed.axes
    decoded = []
    for number, sample in enumerate(samples):
        try:
            batch = typed.decode(sample)
        except ModelpadError as error:
            raise UsageError(
                f"Sample {number + 1} does not fit: {error.message}", hint=error.hint
            ) from error
        decoded.append(
            {
                name: array
                if axes[name] is None
                else place_batch(batch_first(array, axes[name]), None)
                for name, array in batch.items()
            }
        )
    return decoded


def is_one_table(plans: Sequence[InputPlan]) -> bool:
    """Whether all fields are columns of one tensor."""
    return len({plan.spec.name for plan in plans}) == 1 and plans[0].column is not None


def split_table(values: object, plans: Sequence[InputPlan]) -> dict[str, NDArray[np.generic]]:
    """The columns of an array (samples, columns). Raises `UsageError`."""
    table = np.asarray(values)
    if table.ndim != 2 or table.shape[1] != len(plans):
        raise UsageError(
            f"samples has shape {list(table.shape)}; the model has {len(plans)} columns.",
            hint="Give an array (samples, columns), or {column: values}.",
        )
    return {plan.field.name: table[:, plan.column or 0] for plan in plans}


def write_value(value: object, plan: InputPlan) -> Json:
    """What NumPy converts to an array, as the field takes it: nested lists, or a single value.

    NaN is None: a number that is missing. Raises `UsageError` for several values where the field
    has one.
    """
    array = np.asarray(value)
    if plan.field.kind not in SINGLE:
        lists: Json = array.tolist()
        return lists
    if array.size != 1:
        raise UsageError(
            f"A sample for {plan.field.name} has {array.size} values.",
            hint="Give one number or text for each sample.",
        )
    single: Json = array.item()
    return None if isinstance(single, float) and single != single else single


def write_png(pixels: NDArray[np.uint8]) -> bytes:
    """A picture (H, W) or (H, W, channels) as a PNG file."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
