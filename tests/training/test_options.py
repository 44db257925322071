"""A data class of options becomes flags, and flags become its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from modelpad.training.options import KerasOptions, build_options, option, read_flags


@dataclass(frozen=True, slots=True)
class Options:
    kind: Literal["a", "b"] = option("a", "which")
    width: int | None = option(None, "how wide", metavar="N")
    names: tuple[str, ...] = option((), "repeatable")
    keras: KerasOptions = KerasOptions()


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
