"""Predictions that are pictures: a file for each input, in a folder, of a name, or on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from modelpad.cli.live_line import LiveLine
from modelpad.cli.output_files import STDIO
from modelpad.errors import ModelpadError, UsageError
from modelpad.fields.picture_format import SUFFIXES, PictureFormat, name_format, read_quality
from modelpad.training.data_progress import format_seconds

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

    from modelpad.engine import Session

EXTENSIONS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "gif": ".gif"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where an input's picture goes, None for standard output, and its format."""

    path: Path | None
    form: PictureFormat

    def write(self, body: bytes) -> None:
        """Writes the file. Raises `ModelpadError` if it cannot be written."""
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
    work = Painting(session, len(targets))
    for given, target in zip(args.inputs, targets, strict=True):
        try:
            target.write(work.paint(given, read_values(session, given, settings), target.form))
        except ModelpadError as error:
            work.fail(f"{given}: {error.words}")
        else:
            work.end(target)
    work.report()
    return work.failed > 0


class Painting:
    """Paints pictures one after another, and shows how far it is."""

    def __init__(self, session: Session, total: int) -> None:
        self._session = session
        self._total = total
        self._line = LiveLine(sys.stderr)
        self.done = self.failed = 0

    def paint(self, given: str, values: dict[str, object], form: PictureFormat) -> bytes:
        """The file for one input. Raises as the model's fields and `Session.predict`."""
        from modelpad.fields.animation import AnimationWriter, find_animation

        self._show(given)
        animation = find_animation(self._session.signature, values, form)
        if animation is None:
            return form.encode(self._predict(values))
        writer = AnimationWriter(form, animation.timing)
        for number, frame in enumerate(animation.frames()):
            self._show(given, number, len(animation))
            writer.add(self._predict({**values, animation.field: frame}))
        return writer.write()

    def _predict(self, values: dict[str, object]) -> NDArray[np.uint8]:
        """The only output's pixels (height, width, channels)."""
        found = self._session.answer_small(values)
        return cast("NDArray[np.uint8]", next(iter(found.values())))

    def _show(self, given: str, frame: int = 0, frames: int = 0) -> None:
        seen = self.done + self.failed
        if self._total == 1 and not frames:
            return
        text = f"{given}, frame {frame + 1:,} of {frames:,}" if frames else given
        if self._total > 1:
            text = f"{seen + 1:,} of {self._total:,}: {text}"
        self._line.show(text, (seen + (frame / frames if frames else 0)) / self._total)

    def end(self, target: Target) -> None:
        """Counts a picture that is written, and prints its path, unless progress is shown there."""
        self.done += 1
        if target.path is None:
            self._line.clear()
        elif self._total == 1 or not self._line.is_live or not sys.stdout.isatty():
            self._line.clear()
            print(target.path)

    def fail(self, reason: str) -> None:
        """Counts and reports one that is not."""
        self.failed += 1
        self._line.clear()
        print(reason, file=sys.stderr)

    def report(self) -> None:
        """Says how many there are, after progress was shown."""
        self._line.clear()
        if self._line.is_live and self._total > 1:
            seconds = format_seconds(self._line.seconds)
            print(f"Painted {self.done:,} of {self._total:,} in {seconds}.", file=sys.stderr)
