"""`modelpad predict MODEL INPUT...`: makes predictions without a server."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.cli.main import DONE, FAILED, add_common_options, add_store_option
from modelpad.cli.predict_text import add_text_options, check_text_options, write_text
from modelpad.cli.settings import Settings
from modelpad.cli.sources import find_model
from modelpad.errors import InvalidInput, ModelpadError, UsageError
from modelpad.foreign_json import Json, load_json

if TYPE_CHECKING:
    from modelpad.engine import ModelSession, Session
    from modelpad.engine.text import TextSession
    from modelpad.store import ResolvedBundle

EXAMPLE = """example:
  modelpad predict digits seven.png
  modelpad predict digits@3 *.png --json
  modelpad predict iris '[5.1, 3.5, 1.4, 0.2]'
  modelpad predict loans rows.csv -o predictions.csv
  modelpad predict writer "My favorite part was when" --words 50
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
        help="a file; for text and numbers also the text or the JSON itself. Each row of a .csv"
        " file is an input; its header names the model's inputs",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to write the predictions of a .csv file"
    )
    add_text_options(parser)
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one prediction per line. An input that fails is reported on standard error."""
    if args.output and (len(args.inputs) > 1 or not is_table(args.inputs[0])):
        raise UsageError("--output is for the predictions of one CSV file.", hint="Give one .csv.")
    found = find_model(args.model, Settings.from_environment(args))
    session = open_session(found)
    writer = find_writer(session)
    if writer is None:
        check_text_options(args)
    failed = False
    for given in args.inputs:
        try:
            if is_table(given):
                failed |= predict_file(session, found, given, args)
                continue
            values = read_values(session, given)
            if writer is not None:
                write_text(writer, found, str(next(iter(values.values()))), args)
                continue
            outputs = session.answer(values)
        except ModelpadError as error:
            failed = True
            print(f"{given}: {error.words}", file=sys.stderr)
            continue
        print(_write_json(found, given, outputs) if args.json else _write_line(given, outputs))
    return FAILED if failed else DONE


def open_session(found: ResolvedBundle) -> Session | TextSession:
    """The session of a model, without an engine. Raises `BundleInvalid`."""
    if found.bundle.manifest.sequence is None:
        from modelpad.engine import Session

        return Session(found.bundle)
    from modelpad.engine.text import TextSession

    return TextSession(found.bundle)


def find_writer(session: Session | TextSession) -> TextSession | None:
    """The session, if its model writes text."""
    if session.bundle.manifest.sequence is None:
        return None
    from modelpad.engine.text import TextSession

    assert isinstance(session, TextSession)
    return session if session.sequence.generates else None


def is_table(given: str) -> bool:
    """Whether an argument is a file of rows."""
    return given.lower().endswith(".csv")


def predict_file(
    session: ModelSession, found: ResolvedBundle, given: str, args: argparse.Namespace
) -> bool:
    """Predicts every row of a CSV file; returns whether some failed.

    Raises `InvalidInput` for a file or a header that cannot be read.
    """
    from modelpad.cli.tables import Counts, open_output, predict_rows

    counts = Counts()
    with open_output(args.output) as output:
        for row in predict_rows(session, Path(given), counts, as_json=args.json):
            head = {"input": given, "model": found.name, "version": found.version}
            output.write(row if isinstance(row, str) else json.dumps(head | row) + "\n")
    if counts.failed:
        where = "" if args.json else "; see the column 'error'"
        print(f"{counts.failed:,} of {counts.rows:,} rows failed{where}.", file=sys.stderr)
    if args.output:
        print(f"Wrote {args.output}: {counts.rows:,} rows.", file=sys.stderr)
    return counts.failed > 0


def read_values(session: ModelSession, given: str) -> dict[str, object]:
    """The input values for one argument; several are a JSON object. Raises `InvalidInput`."""
    names = [field.name for field in session.signature.inputs]
    if len(names) == 1:
        return {names[0]: read_input(session, given)}
    value = read_json(read_text(given))
    if not isinstance(value, dict):
        raise InvalidInput(
            f"The model has several inputs: {', '.join(names)}.",
            hint="Give a JSON object that names them, or a .csv file with these columns.",
            expected=", ".join(names),
            got=given[:60],
        )
    return dict(value)


def read_input(session: ModelSession, given: str) -> object:
    """The value of the only input: a file's content, or the text or JSON itself.

    Raises:
        InvalidInput: an image file cannot be read, or the value is not UTF-8 or JSON.
    """
    kind = session.signature.inputs[0].kind
    if kind in ("sketch", "image"):
        try:
            return Path(given).read_bytes()
        except OSError as error:
            raise InvalidInput(
                f"The file cannot be read: {error.strerror}.",
                hint="Give the path of an image.",
                field=session.signature.inputs[0].name,
                expected="the path of an image",
                got=given,
            ) from error
    text = read_text(given)
    return text if kind in ("text", "number", "choice") else read_json(text)


def read_text(given: str) -> str:
    """The content of a file of that name, or the argument itself. Raises `InvalidInput`."""
    path = Path(given)
    try:
        return path.read_text("utf-8") if path.is_file() else given
    except UnicodeDecodeError as error:
        raise InvalidInput("The file is not valid UTF-8.", hint="Save it as UTF-8.") from error
    except OSError:
        return given


def read_json(text: str) -> Json:
    """The value of JSON. Raises `InvalidInput`."""
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
            unknown = "  (unknown: looks like none of the classes)" if value.get("unknown") else ""
            words.append(f"{value['label']}  {100 * value['confidence']:.1f} %{unknown}")
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
