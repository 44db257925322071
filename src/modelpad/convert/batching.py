"""Finds how a model counts items: the batch axis of each output, and whether items may be joined.

The source model decides: it runs the same items alone and together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelpad.convert.parity import TOLERANCE, compare
from modelpad.convert.reference import KEPT, Reference, run_source
from modelpad.errors import ConversionFailed, ParityFailed
from modelpad.fields.arrays import Array, Arrays

NOT_BATCHED = "items are predicted one at a time, since the model fails on several"


@dataclass(frozen=True, slots=True)
class Batching:
    """The batch axis of each tensor by name (None: it has none), and whether items may be joined.

    `note` says why they may not, if that is not what the model declares.
    """

    inputs: Mapping[str, int | None]
    outputs: Mapping[str, int | None]
    joins: bool = True
    note: str = ""


def find_batching(reference: Reference, *, single: bool = False) -> Batching:
    """How a model counts items, by its predictions. `single` forbids joining them.

    Raises:
        ConversionFailed: the model fails on a single item.
        ParityFailed: it predicts something else for an item alone and in a batch, or each time.
    """
    alone = reference.predict((0,))
    check_determinism(reference, alone)
    inputs = reference.axes
    outputs = {name: _axis_of_one(array) for name, array in alone.items()}
    if single or _is_fixed(reference):
        return Batching(inputs, outputs, joins=False)
    picked = pick_batch(reference.alike())
    try:
        joined = reference.predict(picked)
    except ConversionFailed:
        return Batching(inputs, outputs, joins=False, note=NOT_BATCHED)
    axes = {name: _axis_of_batch(array, joined[name]) for name, array in alone.items()}
    if None in axes.values():
        kept = {name: outputs[name] if axis is None else axis for name, axis in axes.items()}
        return Batching(inputs, kept, joins=False)
    singles = [reference.predict((index,)) for index in picked]
    _check_joining(singles, joined, axes)
    return Batching(inputs, axes)


def pick_batch(indices: Sequence[int], start: int = 0, size: int = KEPT) -> tuple[int, ...]:
    """`size` of the indices from position `start` on, and again from the first after the last."""
    return tuple(indices[(start + offset) % len(indices)] for offset in range(size))


def check_determinism(reference: Reference, before: Arrays) -> None:
    """Raises `ParityFailed` if the model predicts something else for the same input."""
    again = run_source(reference.source, reference.stack((0,)))
    for name, array in before.items():
        try:
            compare(name, array, again[name], 1, TOLERANCE)
        except ParityFailed as error:
            raise ParityFailed(
                f"The source model gives two different outputs {name!r} for the same input.",
                hint="It contains random operations. If that is dropout in training mode, call"
                " eval() before saving the model.",
                output=name,
            ) from error


def _is_fixed(reference: Reference) -> bool:
    """Whether an input has no batch axis, or one of fixed size."""
    shapes = {spec.name: spec.shape for spec in reference.source.inputs}
    return any(
        axis is None or shapes[name][axis] is not None for name, axis in reference.axes.items()
    )


def _axis_of_one(array: Array) -> int | None:
    return 0 if array.ndim and array.shape[0] == 1 else None


def _axis_of_batch(alone: Array, joined: Array) -> int | None:
    """The axis of an output that has a size of 1 for one item, and of `KEPT` for so many."""
    if alone.ndim != joined.ndim:
        return None
    sides = enumerate(zip(alone.shape, joined.shape, strict=True))
    grown = [axis for axis, (before, after) in sides if before != after]
    sizes = [(alone.shape[axis], joined.shape[axis]) for axis in grown]
    return grown[0] if sizes == [(1, KEPT)] else None


def _check_joining(
    singles: Sequence[Arrays], joined: Arrays, axes: Mapping[str, int | None]
) -> None:
    for name, batch in joined.items():
        single = np.concatenate([output[name] for output in singles], axis=axes[name] or 0)
        try:
            compare(name, single, batch, len(singles), TOLERANCE)
        except ParityFailed as error:
            raise ParityFailed(
                f"The source model itself predicts another {name!r} for an item in a batch of"
                f" {len(singles)} than for the item alone.",
                hint="If it is in training mode, call eval() before saving it. If it combines the"
                " items of a batch on purpose, import it with batch=1 (--input tensor,batch=1):"
                " items are then predicted one at a time.",
                output=name,
            ) from error
