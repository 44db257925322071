"""A data class of options becomes flags, and flags become its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from modelpad.errors import UsageError
from modelpad.training.options import (
    KerasOptions,
    build_options,
    check_options,
    option,
    read_flags,
)


@dataclass(frozen=True, slots=True)
class Options:
    kind: Literal["a", "b"] = option("a", "which")
    width: int | None = option(None, "how wide", metavar="N")
    names: tuple[str, ...] = option((), "repeatable")
    keras: KerasOptions = KerasOptions()


@dataclass(frozen=True, slots=True)
class ProgramOptions:
    width: int | None = option(None, "how wide")
    rate: float = option(0.1, "how fast")
    arch: Literal["small", "large"] = option("small", "which")
    metric: tuple[str, ...] = option((), "repeatable")
    no_check: bool = option(False, "a switch")


def test_fields_become_flags() -> None:
    flags = {flag.name: flag for flag in read_flags(Options)}
    assert list(flags) == ["kind", "width", "names", "loss", "metric", "callback"]
    assert flags["kind"].choices == ("a", "b")
    assert flags["kind"].default == "a"
    assert (flags["width"].kind, flags["width"].metavar) == (int, "N")
    assert flags["names"].repeatable


def test_values_of_flags_build_nested_options() -> None:
    values = {"kind": "b", "names": ["x", "y"], "loss": "hinge", "metric": [], "other": 1}
    built = build_options(Options, values)
    assert built == Options("b", None, ("x", "y"), KerasOptions(loss="hinge"))


def test_a_type_that_no_flag_can_have_is_named() -> None:
    @dataclass(frozen=True)
    class Strange:
        field: Literal["a"] | list[str] | None = option(None, "strange")

    with pytest.raises(TypeError, match="cannot be a command-line option"):
        read_flags(Strange)


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"widht": 3}, "no option 'widht'", "Did you mean width?"),
        ({"width": "3"}, "--width is '3'", "a whole number"),
        ({"width": True}, "--width is True", "a whole number"),
        ({"arch": "smal"}, "--arch has no choice 'smal'", "Did you mean small?"),
        ({"no_check": 1}, "--no-check is 1", "True or False"),
        ({"metric": ["a", 2]}, "--metric is 2", "a text"),
    ],
)
def test_options_of_a_program_are_checked(
    given: dict[str, object], message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_options(ProgramOptions, given)
    assert hint in caught.value.hint


def test_options_of_a_program() -> None:
    given = {"rate": 1, "metric": "a", "width": None, "arch": "large", "no_check": True}
    built = build_options(ProgramOptions, check_options(ProgramOptions, given))
    assert built == ProgramOptions(None, 1.0, "large", ("a",), True)
    assert type(built.rate) is float
