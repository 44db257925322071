"""Videos that `modelpad predict` paints: where each goes, and the progress that is shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.errors import ModelpadError, UsageError
from modelpad.video.joining import check_target
from modelpad.video.source import SUFFIXES

if TYPE_CHECKING:
    import argparse

    from modelpad.store import ResolvedBundle
    from modelpad.video import Progress

SHOW_S = 0.5  # between lines on a terminal
LOG_S = 30.0  # elsewhere


def is_video(given: str) -> bool:
    """Whether an argument is a video, by its name."""
    return Path(given).suffix.lower() in SUFFIXES


def plan_videos(inputs: Sequence[str], output: str | None) -> list[Path]:
    """Where each video goes. Raises `UsageError` if that is not clear."""
    for given in inputs:
        if not is_video(given):
            raise UsageError(
                f"{given} is not a video, and other inputs are.",
                hint="Predict pictures and videos one after the other.",
            )
    if output is None or output == "-":
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


@dataclass(slots=True)
class ProgressLine:
    """The progress of a video: one line that changes on a terminal, else a line now and then."""

    title: str
    live: bool = field(default_factory=lambda: sys.stderr.isatty())
    shown: float = field(default_factory=time.monotonic)
    width: int = 0

    def update(self, progress: Progress) -> None:
        """Shows how far it is, if it is time to."""
        now = time.monotonic()
        is_first = progress.frames == progress.resumed + 1
        if is_first and progress.resumed:
            print(f"{self.title}: going on after {progress.resumed:,} frames.", file=sys.stderr)
        if now - self.shown < (SHOW_S if self.live else LOG_S):
            return
        self.shown = now
        text = f"{self.title}: {describe_progress(progress)}"
        if self.live:
            sys.stderr.write(f"\r{text:<{self.width}}")
            self.width = len(text)
        else:
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Ends the line."""
        if self.live and self.width:
            sys.stderr.write("\n")
            self.width = 0


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
