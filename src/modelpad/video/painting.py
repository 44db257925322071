"""Paints a whole video: decodes, paints and encodes at the same time, and can be interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad import __version__
from modelpad.errors import InvalidInput, TooLarge
from modelpad.video.encoder import OPTIONS, Encoding
from modelpad.video.joining import join
from modelpad.video.library import writing
from modelpad.video.painter import FramePainter
from modelpad.video.parts import SEGMENT_FRAMES, Parts, hash_file
from modelpad.video.pixels import colours_of, even_size
from modelpad.video.source import SourceLimits, VideoSource

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray

    from modelpad.foreign_json import Json
    from modelpad.store import ResolvedBundle


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a painting is. `frames_per_s` counts this run alone, which began after `resumed`.

    `total` is what the file promises, None if it promises nothing. `frame` is the last one painted.
    """

    frames: int
    total: int | None
    resumed: int
    frames_per_s: float
    frame: VideoFrame

    @property
    def fraction(self) -> float:
        """From 0 to 1; 0 if the total is unknown."""
        return min(1.0, self.frames / self.total) if self.total else 0.0

    @property
    def left_s(self) -> float | None:
        """The time left, if it can be told."""
        if not self.total or not self.frames_per_s:
            return None
        return max(0, self.total - self.frames) / self.frames_per_s


Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class PaintRequest:
    """What to paint with what, and where the result goes.

    `values` are the model's inputs beside the frame. `title` stands for the source in errors, by
    default its name.
    """

    model: ResolvedBundle
    values: Mapping[str, Json]
    source: Path
    target: Path
    title: str = ""
    limits: SourceLimits | None = None

    def describe_plan(self, encoding: Encoding) -> dict[str, Json]:
        """All that the painted file depends on."""
        return {
            "source": hash_file(self.source),
            "model": self.model.name,
            "version": self.model.version,
            "bundle": hash_file(self.model.bundle.folder / "manifest.json"),
            "inputs": dict(self.values),
            "segment_frames": SEGMENT_FRAMES,
            "encoding": [repr(encoding), *OPTIONS.values()],
            "modelpad": __version__,
        }


def paint_video(request: PaintRequest, parts: Parts, watch: Watch) -> int:
    """Paints a video; gives the number of frames.

    What is complete in `parts` of an earlier run of the same request is kept, and the file is the
    same as without an interruption. `parts` stay if this is interrupted. `watch` is called after
    every frame.

    Raises as `VideoSource` and `FramePainter`, and `ModelpadError` if a file cannot be written.
    """
    with VideoSource(request.source, request.limits, request.title) as video:
        first = video.first
        painter = FramePainter(request.model.bundle, request.values, first.width * first.height)
        try:
            encoding = choose_encoding(video, painter.paint(first))
            with writing(request.target):
                parts.open(request.describe_plan(encoding))
            paint_segments(video, painter, encoding, parts, watch)
        finally:
            painter.close()
        join(request.source, parts.segments(), request.target, encoding, video.matrix)
    parts.remove()
    return video.count


def paint_segments(
    video: VideoSource, painter: FramePainter, encoding: Encoding, parts: Parts, watch: Watch
) -> None:
    """Writes the segments that are missing."""
    index = len(parts.segments())
    resumed = done = index * SEGMENT_FRAMES
    size = (encoding.width, encoding.height)
    painted = painter.stream(islice(video.frames(), resumed, None), size)
    start = time.monotonic()

    def report(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        nonlocal done
        for frame in frames:
            done += 1
            yield frame
            speed = (done - resumed) / max(1e-6, time.monotonic() - start)
            watch(Progress(done, video.expected_frames, resumed, speed, frame))

    try:
        while encoding.write_segment(parts.path_of(index), report(islice(painted, SEGMENT_FRAMES))):
            index += 1
    except (InvalidInput, TooLarge):
        parts.remove()  # it would end there again
        raise
    finally:
        painted.close()  # type: ignore[attr-defined]


def choose_encoding(video: VideoSource, sample: NDArray[np.uint8]) -> Encoding:
    """How a video is encoded whose first frame is painted as `sample`."""
    first = video.first
    width, height = even_size(sample)
    kept = sample.shape[1] * first.height == sample.shape[0] * first.width
    return Encoding(
        width,
        height,
        video.rate,
        video.time_base,
        (colours_of(first), int(first.color_primaries), int(first.color_trc)),
        video.aspect if kept else None,
    )
