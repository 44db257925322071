"""`modelpad predict MODEL INPUT...`: makes predictions without a server."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.cli.main import DONE, FAILED, add_common_options, add_store_option
from modelpad.cli.settings import Settings
from modelpad.cli.sources import find_model
from modelpad.errors import InvalidInput, ModelpadError
from modelpad.foreign_json import load_json

if TYPE_CHECKING:
    from modelpad.engine import Session
    from modelpad.store import ResolvedBundle

EXAMPLE = """example:
  modelpad predict digits seven.png
  modelpad predict digits@3 *.png --json
  modelpad predict iris '[5.1, 3.5, 1.4, 0.2]'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="NAME, NAME@VERSION, a bundle folder or a trained model's file",
    )
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="a file; for text and numbers also the text or the JSON list itself",
    )
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one prediction per line. An input that fails is reported on standard error."""
    from modelpad.engine import Session

    found = find_model(args.model, Settings.from_environment(args))
    session = Session(found.bundle)
    failed = False
    for given in args.inputs:
        try:
            outputs = session.answer({session.signature.inputs[0].name: read_input(session, given)})
        except ModelpadError as error:
            failed = True
            print(f"{given}: {error.message} {error.hint}".rstrip(), file=sys.stderr)
            continue
        print(_write_json(found, given, outputs) if args.json else _write_line(given, outputs))
    return FAILED if failed else DONE


def read_input(session: Session, given: str) -> object:
    """The input value for one argument: a file's content, or the text or JSON itself.

    Raises:
        InvalidInput: an image file cannot be read, or the value is not UTF-8 or JSON.
    """
    kind = session.signature.inputs[0].kind
    path = Path(given)
    if kind in ("sketch", "image"):
        try:
            return path.read_bytes()
        except OSError as error:
            raise InvalidInput(
                f"The file cannot be read: {error.strerror}.",
                hint="Give the path of an image.",
                field=session.signature.inputs[0].name,
                expected="the path of an image",
                got=given,
            ) from error
    try:
        text = path.read_text("utf-8") if path.is_file() else given
    except UnicodeDecodeError as error:
        raise InvalidInput("The file is not valid UTF-8.", hint="Save it as UTF-8.") from error
    except OSError:
        text = given
    if kind == "text":
        return text
    try:
        return load_json(text)
    except ValueError as error:
        raise InvalidInput(
            f"The input is not valid JSON: {error}.", hint="Give a list such as [1, 2, 3]."
        ) from error


def _write_line(given: str, outputs: dict[str, Any]) -> str:
    words = []
    for value in outputs.values():
        if isinstance(value, dict) and "confidence" in value:
            words.append(f"{value['label']}  {100 * value['confidence']:.1f} %")
        else:
            words.append(json.dumps(value))
    return "  ".join([given, *words])


def _write_json(found: ResolvedBundle, given: str, outputs: dict[str, Any]) -> str:
    head = {"input": given, "model": found.name, "version": found.version}
    if len(outputs) == 1:
        value = next(iter(outputs.values()))
        if isinstance(value, dict):
            return json.dumps(head | value)
    return json.dumps(head | {"outputs": outputs})
