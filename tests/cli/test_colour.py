"""Colour is for terminals, unless variables say otherwise."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from modelpad.cli.colour import shows_colour


@pytest.mark.parametrize(
    ("is_terminal", "variables", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_variables_decide(is_terminal: bool, variables: dict[str, str], expected: bool) -> None:
    assert shows_colour(is_terminal, variables) is expected


def test_an_error_is_red_on_a_terminal() -> None:
    own, other = pty.openpty()
    plain = {"NO_COLOR", "FORCE_COLOR", "TERM"}
    variables = {key: value for key, value in os.environ.items() if key not in plain}
    subprocess.run([sys.executable, "-m", "modelpad", "serv"], stderr=other, env=variables)
    assert b"\033[1;31mmodelpad:\033[0m There is no command" in os.read(own, 4096)
    os.close(own)
    os.close(other)
