"""Videos that `modelpad predict` paints: where each goes, and the progress that is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.cli.live_line import LiveLine
from modelpad.cli.output_files import STDIO
from modelpad.errors import ModelpadError, UsageError
from modelpad.video.joining import check_target
from modelpad.video.source import SUFFIXES

if TYPE_CHECKING:
    import argparse

    from modelpad.store import ResolvedBundle
    from modelpad.video import Progress

LOG_S = 30.0  # between lines, unless they are on a terminal


def is_video(given: str) -> bool:
    """Whether an argument is a video, by its name."""
    return Path(given).suffix.lower() in SUFFIXES


def plan_videos(inputs: Sequence[str], output: str | None) -> list[Path]:
    """Where each video goes; a link is followed. Raises `UsageError` if that is not clear."""
    for given in inputs:
        if not is_video(given):
            raise UsageError(
                f"{given} is not a video, and other inputs are.",
                hint="Predict pictures and videos one after the other.",
            )
    if output is None or output == STDIO:
        raise UsageError("The model's output is a video.", hint="Say where to: -o painted.mp4")
    path = Path(output)
    if path.is_dir() or output.endswith("/") or len(inputs) > 1:
        if path.suffix and not path.is_dir() and not output.endswith("/"):
            raise UsageError(
                f"-o {output} is the name of one video for {len(inputs)} inputs.",
                hint=f"Give a folder, as {path.with_suffix('')}/",
            )
        targets = [path / name_video(Path(given)) for given in inputs]
    else:
        targets = [path]
    if len({*targets}) < len(targets):
        raise UsageError(
            "Two inputs have the same name, so that their videos would be one file.",
            hint="Predict them into two folders.",
        )
    targets = [each.resolve() if each.is_symlink() else each for each in targets]
    for given, target in zip(inputs, targets, strict=True):
        check_target(target)
        if target.resolve() == Path(given).resolve():
            raise UsageError(f"{given} would be overwritten.", hint="Choose another name: -o FILE")
    return targets


def name_video(source: Path) -> str:
    """The name of a painted video: that of its source, as MP4 unless it can keep its format."""
    kept = source.suffix.lower() in (".mp4", ".m4v", ".mov", ".mkv")
    return source.name if kept else f"{source.stem}.mp4"


def paint_videos(model: ResolvedBundle, args: argparse.Namespace) -> bool:
    """Paints each video, with progress on stderr. Returns whether some failed.

    What is stopped, or killed, goes on when the same command is given again.
    """
    from modelpad.cli.input_values import read_settings
    from modelpad.video import PaintRequest, paint_video
    from modelpad.video.parts import Parts, folder_beside

    if args.format:
        raise UsageError(
            f"--format {args.format} is for pictures.",
            hint="The name of a video says its format: -o painted.mp4",
        )
    settings: Any = read_settings(args.set)
    failed = 0
    for given, target in zip(args.inputs, plan_videos(args.inputs, args.output), strict=True):
        parts, shown = Parts(folder_beside(target)), ProgressLine(Path(given).name)
        try:
            paint_video(PaintRequest(model, settings, Path(given), target), parts, shown.update)
        except UsageError:
            raise
        except ModelpadError as error:
            shown.end()
            if len(args.inputs) == 1:
                raise
            failed += 1
            print(f"{given}: {error.words}", file=sys.stderr)
            continue
        except KeyboardInterrupt:
            shown.end()
            if parts.segments():
                print("Give the same command again to go on from here.", file=sys.stderr)
            raise
        shown.end()
        print(target)
    return failed > 0


class ProgressLine:
    """The progress of a video: one line that changes on a terminal, else a line now and then."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._line = LiveLine(sys.stderr)
        self._logged = time.monotonic()

    def update(self, progress: Progress) -> None:
        """Shows how far it is, if it is time to."""
        if progress.resumed and progress.frames == progress.resumed + 1:
            print(f"{self._title}: going on after {progress.resumed:,} frames.", file=sys.stderr)
        text = f"{self._title}: {describe_progress(progress)}"
        self._line.show(text)
        now = time.monotonic()
        if not self._line.is_live and now - self._logged >= LOG_S:
            self._logged = now
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Removes the line."""
        self._line.clear()


def describe_progress(progress: Progress) -> str:
    """For example `1,200 of 9,000 frames, 24.1 frames/s, 5:23 left`."""
    total = f" of {progress.total:,}" if progress.total else ""
    words = f"{progress.frames:,}{total} frames, {progress.frames_per_s:.1f} frames/s"
    if progress.left_s is None:
        return words
    minutes, seconds = divmod(round(progress.left_s), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    return f"{words}, {clock} left"
