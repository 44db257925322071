"""A shadow version gets a copy of all inputs; its outputs are compared and never sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpad.engine import LARGE_ARRAY
from modelpad.errors import ModelpadError, Overloaded
from modelpad.server.budget import ByteBudget, Reservation

TOLERANCE = 1e-3
COMPARED = 1024 * 1024  # numbers compared at once
UNCOMPARED = {"version", "model_version"}


async def compare_shadow(
    predict: Callable[[], Awaitable[object]], outputs: object, budget: ByteBudget, held_bytes: int
) -> str:
    """How the shadow's prediction compares with `outputs`: the label for `modelpad_shadow_total`.

    The copy of the inputs holds `held_bytes` of the budget until then. The result is `same`,
    `different`, `failed`, or `skipped` when the shadow's queue or the budget is full.
    """
    try:
        with Reservation(budget) as held:
            held.grow(held_bytes)
            shadowed = await predict()
            if _is_large(outputs):
                agree = await asyncio.to_thread(outputs_agree, outputs, shadowed)
            else:
                agree = outputs_agree(outputs, shadowed)
    except Overloaded:
        return "skipped"  # not a difference in predictions
    except ModelpadError:
        return "failed"
    return "same" if agree else "different"


def outputs_agree(first: object, second: object) -> bool:
    """Whether two predictions are the same, up to their version and rounding."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return _arrays_agree(first, second)
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return False
    if isinstance(first, dict) and isinstance(second, dict):
        keys = (first.keys() | second.keys()) - UNCOMPARED
        return all(outputs_agree(first.get(key), second.get(key)) for key in keys)
    if isinstance(first, list) and isinstance(second, list):
        alike = (outputs_agree(a, b) for a, b in zip(first, second, strict=False))
        return len(first) == len(second) and all(alike)
    if isinstance(first, int | float) and isinstance(second, int | float):
        near = abs(first - second) <= TOLERANCE * max(1.0, abs(first), abs(second))
        return near or (first != first and second != second)
    return first == second


def _is_large(outputs: object) -> bool:
    values = outputs.values() if isinstance(outputs, dict) else ()
    return sum(each.size for each in values if isinstance(each, np.ndarray)) > LARGE_ARRAY


def _arrays_agree(first: NDArray[np.generic], second: NDArray[np.generic]) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.dtype.kind in "iuf":
        return _numbers_agree(first.reshape(-1), second.reshape(-1))
    return outputs_agree(first.tolist(), second.tolist())


def _numbers_agree(first: NDArray[np.generic], second: NDArray[Any]) -> bool:
    for start in range(0, len(first), COMPARED):
        a = first[start : start + COMPARED].astype(np.float64)
        b = second[start : start + COMPARED].astype(np.float64)
        with np.errstate(invalid="ignore"):
            near = np.abs(a - b) <= TOLERANCE * np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
        if not (near | (a == b) | (np.isnan(a) & np.isnan(b))).all():
            return False
    return True
