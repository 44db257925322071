"""Joins painted segments and the sound of the source into one file.

The sound is copied as it is, unless the file's format has no place for it: then it becomes AAC.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modelpad.errors import InvalidInput, ModelpadError, UsageError
from modelpad.video.encoder import Encoding
from modelpad.video.library import load_av, writing
from modelpad.video.parts import put_in_place
from modelpad.video.source import EXPECTED, open_container

# No random numbers: the same video gives the same file.
SAME = {"fflags": "+bitexact"}
FASTSTART = {"movflags": "+faststart"}  # a player can begin before the whole file is there
MATROSKA = "matroska"
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": MATROSKA}
# What is copied into MP4 and MOV: FFmpeg writes more, which few players can play.
PLAYABLE = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})
FALLBACK = "aac"


def join(
    source: Path,
    segments: Sequence[Path],
    target: Path,
    encoding: Encoding,
    matrix: list[int] | None,
) -> None:
    """Writes `target`, aside and then in place, from segments and the sound of `source`.

    `matrix` is how players turn the frames. Raises `ModelpadError` if it cannot be written.
    """
    av = load_av()
    staged = target.with_name(f".{target.name}.new")
    form = FORMATS[target.suffix.lower()]
    options = SAME if form == MATROSKA else SAME | FASTSTART
    try:
        with (
            writing(target),
            open_container(av, source) as given,
            av.open(str(staged), "w", format=form, options=options) as out,
        ):
            stream = encoding.add_stream(out)
            if matrix is not None:
                stream.set_display_matrix(matrix)
            sound = list_sound(av, given, out, form)
            out.start_encoding()
            pictures = read_segments(av, segments, stream)
            for packet in heapq.merge(pictures, sound, key=time_of):
                out.mux(packet)
        with writing(target):
            put_in_place(staged, target)
    finally:
        staged.unlink(missing_ok=True)


def check_target(target: Path) -> None:
    """Raises `UsageError` for a name that no format belongs to."""
    if target.suffix.lower() not in FORMATS:
        raise UsageError(
            f"A video is not written as {target.suffix or target.name}.",
            hint=f"End its name with one of: {', '.join(FORMATS)}.",
        )


def time_of(packet: Any) -> float:
    """When a packet is due, in seconds."""
    due = packet.dts if packet.dts is not None else packet.pts
    return float((due or 0) * packet.time_base)


def read_segments(av: Any, segments: Sequence[Path], stream: Any) -> Iterator[Any]:
    """The packets of all segments, for `stream`.

    Raises `ModelpadError` if a segment was encoded in another way.
    """
    for path in segments:
        with av.open(str(path), format="nut") as container:
            (video,) = container.streams.video
            if video.codec_context.extradata != stream.codec_context.extradata:
                raise ModelpadError(
                    f"The segment {path} was encoded by another version of FFmpeg.",
                    hint=f"Delete {path.parent}, and start again.",
                )
            for packet in container.demux(video):
                if packet.size:
                    packet.stream = stream
                    yield packet


def list_sound(av: Any, given: Any, out: Any, form: str) -> Iterator[Any]:
    """The packets of all sound tracks, for new streams of `out`, in the order of their times."""
    streams = {}
    for track in given.streams.audio:
        if track.codec_context is None:
            continue
        name = track.codec_context.codec.canonical_name
        copied = name in (out.supported_codecs if form == MATROSKA else PLAYABLE)
        if copied:
            made = out.add_stream_from_template(track, opaque=True)
        else:
            made = out.add_stream(FALLBACK, rate=track.codec_context.sample_rate)
        streams[track] = (made, copied)
    return read_sound(av, given, streams)


def read_sound(av: Any, given: Any, streams: dict[Any, tuple[Any, bool]]) -> Iterator[Any]:
    """The packets of sound tracks, copied or encoded again. Raises `InvalidInput`."""
    try:
        for packet in given.demux(*streams) if streams else ():
            made, copied = streams[packet.stream]
            if not copied:
                for frame in packet.decode():
                    yield from made.encode(frame)
                if not packet.size:  # the end
                    yield from made.encode(None)
            elif packet.size and packet.dts is not None:
                packet.stream = made
                yield packet
    except av.FFmpegError as error:
        raise InvalidInput(
            "The sound of the video is damaged.",
            hint="Convert the video, or remove its sound, first.",
            field="video",
            expected=EXPECTED,
            got="damaged sound",
        ) from error
