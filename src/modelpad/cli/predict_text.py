"""`modelpad predict` for models that write: prints the text while it is written."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from modelpad.errors import UsageError

if TYPE_CHECKING:
    from modelpad.engine.text import TextSession

OPTIONS = {
    "words": (int, "N", "how many words to write (default: as many as fit)"),
    "temperature": (float, "T", "0 for the likeliest words, 1 for variety"),
    "seed": (int, "N", "the same seed gives the same text"),
}


def add_text_options(group: argparse._ArgumentGroup) -> None:
    """Adds the options of text."""
    for name, (kind, metavar, words) in OPTIONS.items():
        group.add_argument(f"--{name}", type=kind, metavar=metavar, help=words)


def check_text_options(args: argparse.Namespace) -> None:
    """Raises `UsageError` if an option of text is given for a model that writes none."""
    for name in OPTIONS:
        if getattr(args, name) is not None:
            raise UsageError(
                f"--{name} is for models that write text.", hint=f"Omit --{name} for {args.model}."
            )


def read_text_options(args: argparse.Namespace) -> dict[str, object]:
    """The options of text that were given."""
    values = {name: getattr(args, name) for name in OPTIONS}
    return {name: value for name, value in values.items() if value is not None}


def write_text(
    session: TextSession, values: Mapping[str, object], args: argparse.Namespace, out: TextIO
) -> None:
    """Prints a prompt's continuation as it is written. Raises `InvalidInput`, `TooLarge`."""
    from modelpad.engine.text import TextPiece
    from modelpad.engine.text.typed_text import read_prompt

    _, request = read_prompt(session, {**values, **read_text_options(args)})
    request = replace(request, stream=True)
    for piece in session.run(lambda emit: session.make_writing(request, emit)):
        assert isinstance(piece, TextPiece)
        out.write(piece.text)
        out.flush()
    print(file=out)
