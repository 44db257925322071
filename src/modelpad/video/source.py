"""A video that is read: its frames in order, its timing, its rotation and its sound.

Only container formats of videos are opened: a playlist could name other files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from modelpad.errors import InvalidInput, TooLarge
from modelpad.fields.picture import MAX_PIXELS
from modelpad.video.library import load_av

if TYPE_CHECKING:
    from av import VideoFrame

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".flv", ".mpg", ".mpeg"),
    *(".ts", ".mts", ".m2ts", ".ogv", ".wmv"),
)
FORMATS = "mov,mp4,matroska,webm,avi,flv,mpegts,mpeg,ogg,asf"
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
EXPECTED = "an MP4, MOV, MKV, WebM or AVI file"
DEFAULT_RATE = Fraction(25)
MATRIX_NUMBERS = 9
DECODER_THREADS = 2


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """The most pixels of a frame, and the most frames (None: any number)."""

    pixels: int = MAX_PIXELS
    frames: int | None = None


class VideoSource:
    """An open video. Use it in a `with` statement; it is read from the start, once."""

    def __init__(self, path: Path, limits: SourceLimits | None = None, title: str = "") -> None:
        """Opens the file and reads its first frame. `title` is for errors, by default its name.

        Raises:
            InvalidInput: it is not a video, is damaged at the start, or has no frames.
            TooLarge: its frames, or their number, exceed the limits.
            MissingExtra: PyAV is not installed.
        """
        self.path, self.limits = path, limits or SourceLimits()
        self.title = title or path.name
        self.count = 0  # of the frames read so far
        self._av = load_av()
        self._container = self._open()
        try:
            self._stream = self._find_stream()
            self._check_size(self._stream.codec_context.width, self._stream.codec_context.height)
            self._check_count(self._stream.frames)
            self._check_length()
            self._frames = self._decode()
            self.first: VideoFrame = self._read_first()
        except BaseException:
            self.close()
            raise

    @property
    def time_base(self) -> Fraction:
        """The unit of the frames' times, in seconds."""
        return self._stream.time_base or 1 / self.rate

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        stream = self._stream
        return stream.average_rate or stream.guessed_rate or DEFAULT_RATE

    @property
    def expected_frames(self) -> int | None:
        """How many frames there are, as the file says or as its length suggests."""
        if self._stream.frames:
            return int(self._stream.frames)
        duration = self.duration_s
        return None if duration is None else max(1, round(duration * self.rate))

    @property
    def duration_s(self) -> float | None:
        """The length in seconds, if the file says."""
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        duration = self._container.duration
        return None if duration is None else float(duration / self._av.time_base)

    @property
    def aspect(self) -> Fraction | None:
        """The width of a pixel by its height, if they differ."""
        found = self._stream.codec_context.sample_aspect_ratio
        return Fraction(found) if found and found != 1 else None

    @property
    def matrix(self) -> list[int] | None:
        """How a player turns the frames: FFmpeg's display matrix, if there is one."""
        data: Any = self.first.side_data.get("DISPLAYMATRIX")
        return None if data is None else [*memoryview(bytes(data)).cast("i")][:MATRIX_NUMBERS]

    def frames(self) -> Iterator[VideoFrame]:
        """All frames with rising times, the first one included.

        Raises `InvalidInput` where the file is damaged, and `TooLarge` for too many frames.
        """
        last, step = None, max(1, round(1 / (self.rate * self.time_base)))
        for frame in self._chain():
            self.count += 1
            self._check_count(self.count)
            if frame.pts is None:
                frame.pts = 0 if last is None else last + step
            elif last is not None and frame.pts <= last:
                frame.pts = last + 1
            last = frame.pts
            yield frame

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> Any:
        try:
            return open_container(self._av, self.path)
        except (OSError, self._av.FFmpegError) as error:
            reason = "is not a video, or is damaged"
            if not self.path.exists():
                reason = "does not exist"
            elif isinstance(error, PermissionError):
                reason = "cannot be read: permission denied"
            raise self._invalid(f"{self.title} {reason}.") from error

    def _find_stream(self) -> Any:
        pictures = self._av.stream.Disposition.attached_pic  # the cover of a piece of music
        streams = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & pictures and stream.codec_context is not None
        ]
        if not streams:
            raise self._invalid(f"{self.title} has no pictures.", "a file without a video")
        stream = streams[0]
        stream.codec_context.thread_count = DECODER_THREADS
        stream.codec_context.thread_type = "AUTO"
        return stream

    def _read_first(self) -> VideoFrame:
        first = next(self._frames, None)
        if first is None:
            raise self._invalid(f"{self.title} has no frames.", "a video without frames")
        return first

    def _chain(self) -> Iterator[VideoFrame]:
        yield self.first
        yield from self._frames

    def _decode(self) -> Iterator[VideoFrame]:
        seen_s = 0.0
        try:
            for packet in self._container.demux(self._stream):
                if packet.is_corrupt:
                    raise self._damaged(seen_s)
                for frame in packet.decode():
                    self._check_size(frame.width, frame.height)
                    seen_s = frame.time or seen_s
                    yield frame
        except self._av.FFmpegError as error:
            raise self._damaged(seen_s) from error

    def _check_length(self) -> None:
        """Raises `InvalidInput` if the file's index names what is beyond its end."""
        size = self.path.stat().st_size
        if any(entry.pos + entry.size > size for entry in self._stream.index_entries):
            raise self._invalid(f"{self.title} is cut off: its end is missing.", "a part of it")

    def _damaged(self, seen_s: float) -> InvalidInput:
        return self._invalid(
            f"{self.title} is damaged after {seen_s:.1f} seconds.", "a damaged file"
        )

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.limits.pixels:
            raise TooLarge(
                f"The frames of {self.title} have {width} x {height} pixels;"
                f" at most {self.limits.pixels:,} are allowed.",
                hint="Make the video smaller first.",
                limit=self.limits.pixels,
                got=width * height,
            )

    def _check_count(self, count: int) -> None:
        most = self.limits.frames
        if most is not None and count > most:
            raise TooLarge(
                f"{self.title} has more than {most:,} frames.",
                hint="Cut it into shorter videos.",
                limit=most,
                got=count,
            )

    def _invalid(self, message: str, got: str = "another file") -> InvalidInput:
        return InvalidInput(
            message, hint=f"Give {EXPECTED}.", field="video", expected=EXPECTED, got=got
        )


def open_container(av: Any, path: Path) -> Any:
    """A video file opened by FFmpeg, which opens no other. Raises FFmpeg's errors."""
    return av.open(f"file:{path}", options=OPTIONS)
