"""`modelpad predict` for models that write: prints the text while it is written."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from modelpad.errors import UsageError

if TYPE_CHECKING:
    from modelpad.engine.text import TextSession
    from modelpad.store import ResolvedBundle

OPTIONS = {
    "words": (int, "N", "language models: how many words to write (default: as many as fit)"),
    "temperature": (float, "T", "language models: 0 for the likeliest words, 1 for variety"),
    "seed": (int, "N", "language models: the same seed gives the same text"),
}


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of text."""
    for name, (kind, metavar, words) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, metavar=metavar, help=words)


def check_text_options(args: argparse.Namespace) -> None:
    """Raises `UsageError` if an option of text is given for a model that writes none."""
    for name in OPTIONS:
        if getattr(args, name) is not None:
            raise UsageError(
                f"--{name} is for models that write text.", hint=f"Omit --{name} for {args.model}."
            )


def write_text(
    session: TextSession, found: ResolvedBundle, prompt: str, args: argparse.Namespace
) -> None:
    """Prints a prompt with its continuation. Raises `InvalidInput`, `TooLarge`."""
    from modelpad.engine.text import TextPiece
    from modelpad.engine.text.typed_text import read_prompt

    values: dict[str, object] = {name: getattr(args, name) for name in OPTIONS}
    values = {name: value for name, value in values.items() if value is not None}
    _, request = read_prompt(session, {session.signature.inputs[0].name: prompt, **values})
    request = replace(request, stream=True)
    text = ""
    for piece in session.run(lambda emit: session.make_writing(request, emit)):
        assert isinstance(piece, TextPiece)
        text += piece.text
        if not args.json:
            sys.stdout.write(piece.text)
            sys.stdout.flush()
    if args.json:
        head = {"input": prompt, "model": found.name, "version": found.version}
        print(json.dumps(head | {"outputs": {session.signature.outputs[0].name: text}}))
    else:
        print()
