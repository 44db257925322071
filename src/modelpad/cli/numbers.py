"""Numbers on the command line: each option says what it accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Generic, TypeVar

from modelpad.errors import UsageError

Value = TypeVar("Value", int, float)


@dataclass(frozen=True, slots=True)
class Number(Generic[Value]):
    """An argparse `type`: `read` turns the text of `option` into a number that `accepts` takes."""

    option: str
    read: Callable[[str], Value]
    accepts: Callable[[float], bool]
    hint: str

    def __call__(self, text: str) -> Value:
        """Raises `UsageError` for anything else."""
        try:
            value = self.read(text)
        except ValueError:
            raise UsageError(f"{self.option} is {text!r}.", hint=self.hint) from None
        if not (isfinite(value) and self.accepts(value)):
            raise UsageError(f"{self.option} is {text}.", hint=self.hint)
        return value


def positive(option: str, read: Callable[[str], Value]) -> Number[Value]:
    """Above 0."""
    return Number(option, read, lambda value: value > 0, "Give a number above 0.")


def not_negative(option: str, read: Callable[[str], Value]) -> Number[Value]:
    """0 or more."""
    return Number(option, read, lambda value: value >= 0, "Give 0 or more.")


def port(option: str) -> Number[int]:
    """A TCP port; 0 means any that is free."""
    return Number(option, int, lambda value: 0 <= value <= 65535, "Give a number from 0 to 65535.")
