"""A version on trial is asked a copy of what another answered: compared, counted, never heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from modelpad.engine import LARGE_ARRAY
from modelpad.errors import ModelpadError, Overloaded

if TYPE_CHECKING:
    from modelpad.server.app import App
    from modelpad.server.models import ServedModel

T = TypeVar("T")
Ask = Callable[["ServedModel"], Awaitable[T]]

TOLERANCE = 1e-3
COMPARED = 1024 * 1024  # numbers at once
UNCOMPARED = {"version", "model_version"}


@dataclass(frozen=True, slots=True)
class Shadow:
    """The version that gets the copies."""

    app: App
    model: ServedModel

    def compare(self, ask: Ask[T], told: T, read: Callable[[T], object] | None = None) -> None:
        """Asks it the same by `ask`, and counts how that compares with what was told; no wait.

        What is compared is what `read` makes of an answer, where it is given.
        """
        self.app.spawn(self._compare(ask, told, read or (lambda answer: answer)))

    def skip(self) -> None:
        """Counts an answer that is not compared."""
        self._count("skipped")

    def _count(self, result: str) -> None:
        metrics = self.app.metrics
        metrics.count_shadow(result, model=self.model.name, version=self.model.version)

    async def _compare(self, ask: Ask[T], told: T, read: Callable[[T], object]) -> None:
        try:
            answer = await ask(self.model)
            first, second = read(told), read(answer)
            if _is_large(first):
                agree = await asyncio.to_thread(answers_agree, first, second)
            else:
                agree = answers_agree(first, second)
            result = "same" if agree else "different"
        except Overloaded:
            result = "skipped"  # its queue is full: that says nothing of its answers
        except ModelpadError:
            result = "failed"
        self._count(result)


def find_shadow(app: App, model: ServedModel) -> Shadow | None:
    """The version that is asked a copy of what `model` answers, if there is one."""
    line = app.require_models().lines.get(model.name)
    if line is None or line.shadow is None or line.shadow == model.version:
        return None
    return Shadow(app, line.versions[line.shadow])


async def ask_with_shadow(app: App, model: ServedModel, ask: Ask[T]) -> T:
    """What `model` answers; its shadow, if there is one, is asked the same aside."""
    told = await ask(model)
    shadow = find_shadow(app, model)
    if shadow is not None:
        shadow.compare(ask, told)
    return told


def answers_agree(first: object, second: object) -> bool:
    """Whether two answers say the same, but for their version and for numbers very near."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return _arrays_agree(first, second)
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return False
    if isinstance(first, dict) and isinstance(second, dict):
        keys = (first.keys() | second.keys()) - UNCOMPARED
        return all(answers_agree(first.get(key), second.get(key)) for key in keys)
    if isinstance(first, list) and isinstance(second, list):
        alike = (answers_agree(a, b) for a, b in zip(first, second, strict=False))
        return len(first) == len(second) and all(alike)
    if isinstance(first, int | float) and isinstance(second, int | float):
        near = abs(first - second) <= TOLERANCE * max(1.0, abs(first), abs(second))
        return near or (first != first and second != second)
    return first == second


def _is_large(answer: object) -> bool:
    values = answer.values() if isinstance(answer, dict) else ()
    return sum(each.size for each in values if isinstance(each, np.ndarray)) > LARGE_ARRAY


def _arrays_agree(first: NDArray[np.generic], second: NDArray[np.generic]) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.dtype.kind in "iuf":
        return _numbers_agree(first.reshape(-1), second.reshape(-1))
    return answers_agree(first.tolist(), second.tolist())


def _numbers_agree(first: NDArray[Any], second: NDArray[Any]) -> bool:
    for start in range(0, len(first), COMPARED):
        a = first[start : start + COMPARED].astype(np.float64)
        b = second[start : start + COMPARED].astype(np.float64)
        with np.errstate(invalid="ignore"):
            near = np.abs(a - b) <= TOLERANCE * np.maximum(1.0, np.maximum(np.abs(a), np.abs(b)))
        if not (near | (a == b) | (np.isnan(a) & np.isnan(b))).all():
            return False
    return True
