"""Help in narrow terminals."""

from __future__ import annotations

import shlex

import pytest

from modelpad.cli.help_format import wrap_line

COMMAND = '  modelpad import net.onnx --title "Leaf rust" --author "A. Muster" --card CARD.md'


def test_a_line_that_fits_is_kept() -> None:
    assert wrap_line("  modelpad serve digits      on port 8080", 58) == (
        "  modelpad serve digits      on port 8080"
    )


@pytest.mark.parametrize("width", [30, 40, 58])
def test_a_wrapped_command_can_be_pasted(width: int) -> None:
    wrapped = wrap_line(COMMAND, width)
    assert max(map(len, wrapped.splitlines())) <= width
    assert shlex.split(wrapped.replace("\\\n", "")) == shlex.split(COMMAND)


def test_the_second_column_stays_a_column() -> None:
    row = "  age=number         a table's column; unit=, min=, max=, whole, nullable"
    assert wrap_line(row, 58).splitlines() == [
        "  age=number         a table's column; unit=, min=, max=,",
        "                     whole, nullable",
    ]


def test_a_second_column_without_room_goes_below() -> None:
    row = "  modelpad serve a=net.onnx b=rf.skops  several models, each with its name"
    assert wrap_line(row, 58).splitlines() == [
        "  modelpad serve a=net.onnx b=rf.skops",
        "      several models, each with its name",
    ]
