"""H.264, in segments that begin with a key frame each and can be joined.

There are no B-frames: packets are in the order of their frames, so that segments follow each other
exactly, whatever the times of the frames are. Each segment is encoded by an encoder of its own on
one thread: it depends on nothing but its frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpad.errors import ModelpadError
from modelpad.video.library import load_av, writing
from modelpad.video.parts import put_in_place

if TYPE_CHECKING:
    from av import VideoFrame

CODEC = "libx264"
FORMAT = "nut"  # keeps times exactly, in any time base
OPTIONS = {"preset": "veryfast", "crf": "22", "bf": "0", "threads": "1"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """What all segments of a video share, and the joined file.

    `colours` are the numbers of its colour space, primaries and transfer (H.273).
    """

    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    colours: tuple[int, int, int]
    aspect: Fraction | None = None

    def add_stream(self, container: Any) -> Any:
        """A stream of this video in a file to be written. Raises `ModelpadError`."""
        try:
            stream = container.add_stream(CODEC, rate=self.rate, options=dict(OPTIONS))
        except ValueError as error:
            raise ModelpadError(
                f"This PyAV has no encoder for H.264 ({CODEC}).", hint="Install it with pip."
            ) from error
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = self.width, self.height, "yuv420p"
        context.time_base = stream.time_base = self.time_base
        context.colorspace, context.color_primaries, context.color_trc = self.colours
        context.color_range = 1  # that of video
        if self.aspect is not None:
            context.sample_aspect_ratio = self.aspect
        return stream

    def write_segment(self, path: Path, frames: Iterable[VideoFrame]) -> int:
        """Writes frames into a file, aside and then in place; gives their number.

        Nothing is written without a frame. Raises `ModelpadError` if that fails.
        """
        av, count = load_av(), 0
        staged = path.with_suffix(".new")
        container: Any = None
        stream: Any = None
        try:
            with writing(path):
                for frame in frames:
                    if container is None:
                        container = av.open(str(staged), "w", format=FORMAT)
                        stream = self.add_stream(container)
                    frame.pict_type = 0  # the encoder chooses
                    container.mux(stream.encode(frame))
                    count += 1
                if container is not None:
                    container.mux(stream.encode(None))
                    container.close()
                    put_in_place(staged, path)
        finally:
            if container is not None:
                container.close()
        return count
