"""`modelpad predict MODEL INPUT...`: makes predictions without a server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from modelpad.cli.input_values import read_settings
from modelpad.cli.items import Item, ItemReader, check_inputs, find_kind, name_argument
from modelpad.cli.main import DONE, FAILED, add_common_options, add_store_option, describe_hint
from modelpad.cli.output_files import STDIO, open_output
from modelpad.cli.predict_output import (
    FORMATS,
    SUFFIXES,
    CsvWriter,
    JsonWriter,
    LineWriter,
    Writer,
    keep_pictures,
)
from modelpad.cli.predict_text import (
    add_text_options,
    check_text_options,
    read_text_options,
    write_text,
)
from modelpad.cli.settings import Settings
from modelpad.cli.sources import find_model
from modelpad.errors import ModelpadError, UsageError
from modelpad.fields import Image

if TYPE_CHECKING:
    from modelpad.engine import Session
    from modelpad.engine.text import TextSession
    from modelpad.store import ResolvedBundle

EXAMPLE = """example:
  modelpad predict digits seven.png
  modelpad predict digits@3 *.png --format csv
  modelpad predict iris '[5.1, 3.5, 1.4, 0.2]'
  modelpad predict loans '{"age": 41, "city": "Bern"}'
  modelpad predict loans rows.csv -o predictions.csv
  modelpad predict reviews - --input-format jsonl < reviews.jsonl
  modelpad predict writer "My favorite part was when" --words 50
  modelpad predict styles *.jpg -o painted/ --set style=wave --set strength=0.8
  modelpad predict styles - --format jpeg < cat.jpg > painted.jpg
  modelpad predict styles clip.mp4 -o painted.mp4 --set style=wave
  modelpad predict styles cat.gif -o painted.webp
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
        " itself; for several inputs a JSON object. Each row of a .csv file and each line of a"
        " .jsonl file is an input",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="where to write the predictions: a file, or a folder for pictures and videos",
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="another input of the model, the same for each INPUT",
    )
    parser.add_argument(
        "--input-format",
        choices=("csv", "jsonl"),
        metavar="csv|jsonl",
        help="what standard input is, if it has a row or a line for each input",
    )
    parser.add_argument(
        "--format",
        metavar="FORMAT",
        help="text, json, jsonl or csv; of pictures png, jpeg, webp or gif (default: as the"
        " output's name, else as the input)",
    )
    pictures = parser.add_argument_group("models that make pictures")
    pictures.add_argument(
        "--quality", metavar="N", default="90", help="of JPEG and WebP (default: %(default)s)"
    )
    add_text_options(parser.add_argument_group("language models"))
    add_store_option(parser)
    add_common_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one prediction per item. An item that fails is reported on standard error."""
    from modelpad.engine import open_session

    check_inputs(args.inputs)
    settings = read_settings(args.set)
    found = find_model(args.model, Settings.from_environment(args))
    if found.bundle.manifest.signature.is_picture:
        return paint(found, args)
    form, folder = choose_format(args), find_folder(args.output, found)
    session = open_session(found.bundle)
    if find_writer(session) is None:
        check_text_options(args)
    with open_output(None if folder else args.output) as out:
        work = Predictions(session, found, out, folder, args)
        work.predict_all(ItemReader(session, settings, args.input_format), form)
    work.report()
    return FAILED if work.failed else DONE


@dataclass(slots=True)
class Predictions:
    """Predicts items one after another, and counts them."""

    session: Session | TextSession
    found: ResolvedBundle
    out: TextIO
    folder: Path | None  # of pictures
    args: argparse.Namespace
    done: int = 0
    failed: int = 0
    kept: int = 0  # errors that are in the output

    def predict_all(self, reader: ItemReader, form: str | None) -> None:
        """Predicts all arguments, and writes them in a format, by default the first item's.

        It goes on after errors. Raises `UsageError`.
        """
        writer = None if form is None else make_writer(form, self.out, self.found)
        for given in self.args.inputs:
            try:
                for item in reader.read(given):
                    writer = writer or make_writer(find_format(item), self.out, self.found)
                    self.predict(item, writer)
            except UsageError:
                raise
            except ModelpadError as error:
                self.failed += 1
                report_error(name_argument(given), error)
        if writer is not None and self.has_output:
            writer.close()

    @property
    def has_output(self) -> bool:
        """Whether anything was written; a file without it is not made."""
        return self.done + self.kept > 0 or not self.failed

    def predict(self, item: Item, writer: Writer) -> None:
        """Predicts one item."""
        try:
            values = item.read()
            writing = find_writer(self.session)
            if writing is not None and isinstance(writer, LineWriter):
                write_text(writing, values, self.args, self.out)
            else:
                outputs = self.session.answer({**values, **read_text_options(self.args)})
                writer.write(item, self._keep_pictures(item, outputs, writer))
            self.done += 1
        except UsageError:
            raise
        except ModelpadError as error:
            self.failed += 1
            if writer.fail(item, error):
                self.kept += 1
            else:
                report_error(item.title, error)

    def _keep_pictures(
        self, item: Item, outputs: dict[str, object], writer: Writer
    ) -> dict[str, object]:
        on_terminal = self.out is sys.stdout and sys.stdout.isatty()
        shown = on_terminal and not isinstance(writer, LineWriter)  # which never shows them
        return keep_pictures(outputs, item, self.folder, on_terminal=shown)

    def report(self) -> None:
        """Says on standard error where the predictions and the errors are."""
        total = self.done + self.failed
        if self.kept:
            print(
                f"{self.kept:,} of {total:,} rows failed; see 'error' in the output.",
                file=sys.stderr,
            )
        if self.args.output not in (None, STDIO) and self.has_output:
            print(f"Wrote {self.args.output}: {total:,} row{'s' * (total != 1)}.", file=sys.stderr)


def report_error(title: str, error: ModelpadError) -> None:
    """Says on standard error what is wrong with an item."""
    print(f"{title}: {error.message} {describe_hint(error)}".rstrip(), file=sys.stderr)


def choose_format(args: argparse.Namespace) -> str | None:
    """One of `FORMATS`: as asked for, or as the output's name. Raises `UsageError`."""
    wanted: str = args.format or ("jsonl" if args.json else "")
    if wanted and wanted not in FORMATS:
        from modelpad.fields.picture_format import name_format

        name_format(wanted)  # reports one that does not exist
        raise UsageError(
            f"--format {wanted} is for models that make pictures.",
            hint=f"Choose one of: {', '.join(FORMATS)}.",
        )
    return wanted or SUFFIXES.get(Path(args.output or "").suffix.lower())


def find_format(item: Item) -> str:
    """The format of an item's source."""
    if item.table is not None:
        return "csv"
    return "text" if item.row is None else "jsonl"


def find_folder(output: str | None, found: ResolvedBundle) -> Path | None:
    """The folder that `--output` names. Raises `UsageError` if no output goes there."""
    if not output or not (output.endswith("/") or Path(output).is_dir()):
        return None
    if not any(isinstance(each, Image) for each in found.bundle.manifest.signature.outputs):
        raise UsageError(
            f"-o {output} is a folder, for pictures.", hint="Give a file: -o predictions.csv"
        )
    return Path(output)


def make_writer(form: str, out: TextIO, found: ResolvedBundle) -> Writer:
    """The writer of a format."""
    if form == "csv":
        return CsvWriter(out, found.bundle.manifest.signature)
    return LineWriter(out) if form == "text" else JsonWriter(out, found, array=form == "json")


def find_writer(session: Session | TextSession) -> TextSession | None:
    """The session, if its model writes text."""
    if session.bundle.manifest.sequence is None:
        return None
    from modelpad.engine.text import TextSession

    assert isinstance(session, TextSession)
    return session if session.sequence.generates else None


def paint(found: ResolvedBundle, args: argparse.Namespace) -> int:
    """Writes a picture or a video for each input, on all cores."""
    from modelpad.cli.picture_files import paint_files, plan_files
    from modelpad.cli.video_files import is_video, paint_videos
    from modelpad.engine import Session, SessionSettings
    from modelpad.engine.session import allotted_cpus

    if args.json or args.format in FORMATS:
        form = "JSON" if args.json else args.format
        raise UsageError(f"Pictures are not written as {form}.", hint="Write files: -o FOLDER/")
    for given in rows_among(args):
        raise UsageError(
            f"{given} has many rows, and a picture needs a file of its own.",
            hint="Give each picture as an INPUT, and the other inputs with --set.",
        )
    if any(map(is_video, args.inputs)):
        return FAILED if paint_videos(found, args) else DONE
    targets = plan_files(args)
    session = Session(found.bundle, SessionSettings(threads=allotted_cpus()))
    return FAILED if paint_files(session, args, targets) else DONE


def rows_among(args: argparse.Namespace) -> Iterator[str]:
    """The inputs that have rows."""
    return (each for each in args.inputs if find_kind(each, args.input_format) != "value")
