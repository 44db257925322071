"""Colour on a terminal: `NO_COLOR` turns it off, and `FORCE_COLOR` on, if they are not empty."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TextIO

BOLD_RED, RESET = "\033[1;31m", "\033[0m"


def paint_error(text: str, stream: TextIO) -> str:
    """The text in red, if the stream shows colour."""
    return f"{BOLD_RED}{text}{RESET}" if shows_colour(stream.isatty(), os.environ) else text


def shows_colour(is_terminal: bool, variables: Mapping[str, str]) -> bool:
    """Whether to use colour. `NO_COLOR` comes first; a terminal called `dumb` has none."""
    if variables.get("NO_COLOR"):
        return False
    return bool(variables.get("FORCE_COLOR")) or (is_terminal and variables.get("TERM") != "dumb")
