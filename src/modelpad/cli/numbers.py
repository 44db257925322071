"""Numbers on the command line: argparse `type`s whose errors state the accepted range."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TypeVar

from modelpad.errors import UsageError

Value = TypeVar("Value", int, float)


def number(
    option: str, read: Callable[[str], Value], accepts: Callable[[float], bool], hint: str
) -> Callable[[str], Value]:
    """Turns the text of `option` into a number that it accepts.

    The function raises `UsageError` with the `hint` for anything else.
    """

    def convert(text: str) -> Value:
        try:
            value = read(text)
        except ValueError:
            raise UsageError(f"{option} is {text!r}.", hint=hint) from None
        if not (isfinite(value) and accepts(value)):
            raise UsageError(f"{option} is {text}.", hint=hint)
        return value

    return convert


def positive(option: str, read: Callable[[str], Value]) -> Callable[[str], Value]:
    """Above 0."""
    return number(option, read, lambda value: value > 0, "Give a number above 0.")


def not_negative(option: str, read: Callable[[str], Value]) -> Callable[[str], Value]:
    """0 or more."""
    return number(option, read, lambda value: value >= 0, "Give 0 or more.")


def port(option: str) -> Callable[[str], int]:
    """A TCP port; 0 means any that is free."""
    return number(option, int, lambda value: 0 <= value <= 65535, "Give a number from 0 to 65535.")
