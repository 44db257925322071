"""Predictions that are pictures: a file for each input, in a folder, of a name, or on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from modelpad.errors import ModelpadError, UsageError
from modelpad.fields.picture_format import SUFFIXES, PictureFormat, name_format, read_quality

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

    from modelpad.engine import Session

STDIO = "-"
EXTENSIONS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where an input's picture goes, None for standard output, and its format."""

    path: Path | None
    form: PictureFormat

    def write(self, pixels: NDArray[np.uint8]) -> None:
        """Writes the file. Raises `ModelpadError` if it cannot be written."""
        body = self.form.encode(pixels)
        if self.path is None:
            sys.stdout.buffer.write(body)
            sys.stdout.buffer.flush()
            return
        try:
            self.path.write_bytes(body)
        except OSError as error:
            raise ModelpadError(
                f"{self.path} cannot be written: {error.strerror}.", hint="Choose another place."
            ) from error


def plan_files(args: argparse.Namespace) -> list[Target]:
    """Where each input's picture goes.

    Raises `UsageError` if there is no place, if two pictures would go to one, or for an unknown
    format.
    """
    inputs: Sequence[str] = args.inputs
    quality = read_quality(args.quality)
    wanted = name_format(args.format) if args.format else None
    output = args.output
    if output is None and [*inputs] == [STDIO] and not sys.stdout.isatty():
        output = STDIO
    if output is None:
        raise UsageError("The model's output is a picture.", hint="Say where to: -o FOLDER/")
    if output == STDIO:
        if len(inputs) > 1 or sys.stdout.isatty():
            raise UsageError(
                "Standard output takes one picture, and is not shown on a terminal.",
                hint="Say where to: -o FOLDER/",
            )
        return [Target(None, PictureFormat(wanted or "png", quality))]
    path = Path(output)
    suffix = path.suffix.lower()
    if len(inputs) == 1 and suffix in SUFFIXES and not path.is_dir():
        return [Target(path, PictureFormat(wanted or SUFFIXES[suffix], quality))]
    if suffix and not path.is_dir() and not output.endswith("/"):
        raise UsageError(
            f"-o {output} is neither a folder nor the name of a picture for one input.",
            hint=f"Give a folder, as {path.with_suffix('')}/",
        )
    targets = [name_target(path, given, wanted, quality) for given in inputs]
    if len({each.path for each in targets}) < len(targets):
        raise UsageError(
            "Two inputs have the same name, so that their pictures would be one file.",
            hint="Predict them into two folders.",
        )
    path.mkdir(parents=True, exist_ok=True)
    for each, given in zip(targets, inputs, strict=True):
        if (
            each.path is not None
            and given != STDIO
            and each.path.resolve() == Path(given).resolve()
        ):
            raise UsageError(f"{given} would be overwritten.", hint="Choose another folder: -o DIR")
    return targets


def name_target(folder: Path, given: str, wanted: str | None, quality: int) -> Target:
    """A file in a folder with the name of its input, in its format if there is no other."""
    source = Path("stdin" if given == STDIO else given)
    form = wanted or SUFFIXES.get(source.suffix.lower(), "png")
    kept = SUFFIXES.get(source.suffix.lower()) == form
    suffix = source.suffix if kept else EXTENSIONS[form]
    return Target(folder / f"{source.stem}{suffix}", PictureFormat(form, quality))


def paint_files(session: Session, args: argparse.Namespace, targets: Sequence[Target]) -> bool:
    """Writes a picture for each input, with progress on stderr. Returns whether some failed."""
    from modelpad.cli.input_values import read_settings, read_values

    settings = read_settings(args.set)
    failed, count, live = 0, len(targets), sys.stderr.isatty()
    for number, (given, target) in enumerate(zip(args.inputs, targets, strict=True), start=1):
        try:
            target.write(predict_pixels(session, read_values(session, given, settings)))
        except ModelpadError as error:
            failed += 1
            print(f"{given}: {error.words}", file=sys.stderr)
            continue
        if target.path is not None and (count == 1 or not live):
            print(target.path)
        elif live:
            sys.stderr.write(f"\r{number:,} of {count:,}" + "\n" * (number == count))
            sys.stderr.flush()
    return failed > 0


def predict_pixels(session: Session, values: dict[str, object]) -> NDArray[np.uint8]:
    """The only output's pixels (height, width, channels)."""
    return cast("NDArray[np.uint8]", next(iter(session.answer_small(values).values())))
