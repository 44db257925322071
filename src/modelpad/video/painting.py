"""Paints a whole video: decodes, paints and encodes at the same time, and can be interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad import __version__
from modelpad.video.encoder import OPTIONS, Encoding
from modelpad.video.joining import join
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


def paint_video(
    model: ResolvedBundle,
    values: Mapping[str, Json],
    source: Path,
    target: Path,
    parts: Parts,
    watch: Watch,
    limits: SourceLimits | None = None,
) -> int:
    """Paints `source` into `target`; gives the number of frames.

    `values` are the model's other inputs. What is complete in `parts` of an earlier run with the
    same source, model and values is kept; the file is the same as without an interruption. `parts`
    stay if this fails, and are removed when it succeeds. `watch` is called after every frame.

    Raises as `VideoSource` and `FramePainter`, and `ModelpadError` if a file cannot be written.
    """
    with VideoSource(source, limits) as video:
        first = video.first
        painter = FramePainter(model.bundle, values, first.width * first.height)
        try:
            sample = painter.paint(first)
            encoding = choose_encoding(video, sample)
            parts.open(describe_plan(model, values, hash_file(source), encoding))
            done = paint_segments(video, painter, encoding, parts, watch)
        finally:
            painter.close()
        join(source, parts.segments(), target, encoding, video.matrix)
    parts.remove()
    return done


def paint_segments(
    video: VideoSource, painter: FramePainter, encoding: Encoding, parts: Parts, watch: Watch
) -> int:
    """Writes the segments that are missing; gives the number of frames of all."""
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
        while encoding.write_segment(
            parts.path_of(index), report(islice(painted, SEGMENT_FRAMES))
        ):
            index += 1
    finally:
        painted.close()  # type: ignore[attr-defined]
    return done


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


def describe_plan(
    model: ResolvedBundle, values: Mapping[str, Json], digest: str, encoding: Encoding
) -> dict[str, Json]:
    """All that the painted file depends on."""
    return {
        "source": digest,
        "model": model.name,
        "version": model.version,
        "bundle": hash_file(model.bundle.folder / "manifest.json"),
        "inputs": dict(values),
        "segment_frames": SEGMENT_FRAMES,
        "encoding": [repr(encoding), *OPTIONS.values()],
        "modelpad": __version__,
    }
