"""`modelpad predict MODEL INPUT...`: makes predictions without a server."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.cli.input_values import read_settings, read_values
from modelpad.cli.main import DONE, FAILED, add_common_options, add_store_option
from modelpad.cli.predict_text import add_text_options, check_text_options, write_text
from modelpad.cli.settings import Settings
from modelpad.cli.sources import find_model
from modelpad.errors import ModelpadError, UsageError

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
  modelpad predict styles *.jpg -o painted/ --set style=wave --set strength=0.8
  modelpad predict styles - --format jpeg < cat.jpg > painted.jpg
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
        help="a file, or - for standard input; for text and numbers also the text or the JSON"
        " itself. Each row of a .csv file is an input; its header names the model's inputs",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="where to write the predictions of a .csv file, or pictures: a folder or one file",
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="another input of the model, the same for each INPUT",
    )
    parser.add_argument(
        "--format", metavar="png|jpeg|webp", help="of pictures (default: as the output's name)"
    )
    parser.add_argument(
        "--quality", metavar="N", default="90", help="of JPEG and WebP (default: %(default)s)"
    )
    add_text_options(parser)
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one prediction per line. An input that fails is reported on standard error."""
    from modelpad.engine import open_session

    found = find_model(args.model, Settings.from_environment(args))
    if found.bundle.manifest.signature.is_picture and not is_table(args.inputs[0]):
        return paint(found, args)
    if args.output and (len(args.inputs) > 1 or not is_table(args.inputs[0])):
        raise UsageError("--output is for the predictions of one CSV file.", hint="Give one .csv.")
    session = open_session(found.bundle)
    writer = find_writer(session)
    if writer is None:
        check_text_options(args)
    failed = False
    for given in args.inputs:
        try:
            if is_table(given):
                failed |= predict_file(session, found, given, args)
                continue
            values = read_values(session, given, args.set)
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


def find_writer(session: Session | TextSession) -> TextSession | None:
    """The session, if its model writes text."""
    if session.bundle.manifest.sequence is None:
        return None
    from modelpad.engine.text import TextSession

    assert isinstance(session, TextSession)
    return session if session.sequence.generates else None


def paint(found: ResolvedBundle, args: argparse.Namespace) -> int:
    """Writes a picture for each input, on all cores."""
    from modelpad.cli.picture_files import paint_files, plan_files
    from modelpad.engine import Session, SessionSettings
    from modelpad.engine.session import allotted_cpus

    read_settings(args.set)  # reports a mistake once, and before a folder is made
    if args.json:
        raise UsageError("Pictures are not written as JSON.", hint="Write files: -o FOLDER/")
    targets = plan_files(args)
    session = Session(found.bundle, SessionSettings(threads=allotted_cpus()))
    return FAILED if paint_files(session, args, targets) else DONE


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


def _write_line(given: str, outputs: dict[str, Any]) -> str:
    words = []
    for value in outputs.values():
        if isinstance(value, dict) and "confidence" in value:
            unknown = "  (unknown: looks like none of the classes)" if value.get("unknown") else ""
            found = ", ".join(value["labels"]) or "none" if "labels" in value else value["label"]
            words.append(f"{found}  {100 * value['confidence']:.1f} %{unknown}")
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
