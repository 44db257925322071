"""Small videos, and a painter that is quick to make and to run: it turns colours into negatives."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from modelpad.bundle import Bundle, Manifest, write_bundle
from modelpad.fields import Image, Number, Signature
from modelpad.fields.signature import Binding

PICTURE = Signature(
    (
        Image("image", height=None, width=None),
        Number("strength", minimum=0, maximum=1, default=1.0),
    ),
    (Image("picture", height=None, width=None),),
    (Binding("image", batch_axis=None), Binding("strength", batch_axis=None)),
    (Binding("picture", batch_axis=None),),
    batched=False,
)
RATE, SOUND_RATE = 25, 48_000


def write_painter(folder: Path) -> Bundle:
    """The bundle `negative`: at strength 1 a negative, at 0 the picture itself."""
    from onnx import TensorProto, helper, numpy_helper

    sides: list[str | int | None] = ["height", "width", 3]
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Mul", ["image", "minus_two"], ["back"]),
        helper.make_node("Add", ["back", "white"], ["change"]),
        helper.make_node("Cast", ["strength"], ["share"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["change", "share"], ["part"]),
        helper.make_node("Add", ["image", "part"], ["picture"]),
    ]
    graph = helper.make_graph(
        nodes,
        "negative",
        [
            value("image", TensorProto.FLOAT, sides),
            value("strength", TensorProto.DOUBLE, []),
        ],
        [value("picture", TensorProto.FLOAT, sides)],
        [
            numpy_helper.from_array(np.array(-2.0, np.float32), "minus_two"),
            numpy_helper.from_array(np.array(255.0, np.float32), "white"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    manifest = Manifest(
        name="negative", task="image", signature=PICTURE, author="us", licence="MIT"
    )
    return write_bundle(folder, manifest, {"model.onnx": model.SerializeToString()})


def draw_frame(index: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A gradient that moves."""
    width, height = size
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    red = (across * 3 + index * 2) % 256
    return np.stack([red, (down * 5) % 256, np.full_like(red, 90)], -1).astype(np.uint8)


def write_clip(
    path: Path,
    frames: int = 25,
    size: tuple[int, int] = (48, 32),
    *,
    rotation: int = 0,
    sound: str | None = "aac",
    times: Sequence[int] | None = None,
    faststart: bool = False,
) -> Path:
    """A video of `frames` with as much sound; `times` are those of the frames, in milliseconds."""
    options = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as out:
        video: Any = out.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        if size[0] % 2 or size[1] % 2:
            video.pix_fmt = "yuv444p"
        video.codec_context.time_base = Fraction(1, 1000 if times else RATE)
        if rotation:
            video.set_display_rotation(rotation)
        track: Any = out.add_stream(sound, rate=SOUND_RATE, layout="mono") if sound else None
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(draw_frame(index, size), format="rgb24")
            frame.pts = times[index] if times else index
            frame.time_base = video.codec_context.time_base
            out.mux(video.encode(frame))
            if track is not None:
                out.mux(track.encode(make_sound(index)))
        out.mux(video.encode(None))
        if track is not None:
            out.mux(track.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """A file with sound alone."""
    with av.open(str(path), "w") as out:
        track: Any = out.add_stream("aac", rate=SOUND_RATE, layout="mono")
        for index in range(10):
            out.mux(track.encode(make_sound(index)))
        out.mux(track.encode(None))
    return path


def make_sound(index: int) -> av.AudioFrame:
    """The sound of one frame's time."""
    count = SOUND_RATE // RATE
    wave = np.sin((np.arange(count) + index * count) * 0.05).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = SOUND_RATE, index * count
    frame.time_base = Fraction(1, SOUND_RATE)
    return frame


def damage(path: Path) -> Path:
    """Overwrites the middle of a video."""
    body = bytearray(path.read_bytes())
    middle = body.index(b"mdat") + 4000
    body[middle : middle + 3000] = bytes(3000)
    path.write_bytes(body)
    return path


def open_video(path: Path) -> Any:
    """A file as PyAV opens it."""
    return av.open(str(path))


def read_times(path: Path) -> list[float]:
    """The times of all frames, in seconds."""
    with open_video(path) as found:
        return [round(frame.time, 4) for frame in found.decode(video=0)]


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """The pixels (height, width, 3) of the first frame."""
    with open_video(path) as found:
        pixels: NDArray[np.uint8] = next(found.decode(video=0)).to_ndarray(format="rgb24")
        return pixels


def read_sound(path: Path) -> list[bytes]:
    """The packets of the sound."""
    with open_video(path) as found:
        return [bytes(packet) for packet in found.demux(audio=0) if packet.size]
