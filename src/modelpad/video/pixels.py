"""Frames as pictures, and back, without a change of their colours.

A picture goes back into the colour space of its frame, so that what was converted with one matrix
is shown with the same; https://ffmpeg.org/ffmpeg-scaler.html#scaler_005foptions.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from threading import local
from typing import TYPE_CHECKING

from modelpad.video.library import load_av

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

RGB, BT709 = 0, 1  # colour spaces, as H.273 numbers them
LIMITED = 1  # the range of video, 16..235
# Without these, FFmpeg rounds down: each way, a picture would become a level darker.
READ_FLAGS = ("BILINEAR", "ACCURATE_RND", "FULL_CHR_H_INT")
WRITE_FLAGS = ("BILINEAR", "ACCURATE_RND")
_threads = local()


def to_picture(frame: VideoFrame) -> Picture:
    """The frame as an RGB picture."""
    from PIL import Image

    pixels = _convert(frame, READ_FLAGS, format="rgb24").to_ndarray()
    return Image.fromarray(pixels)


def to_frame(pixels: NDArray[np.uint8], like: VideoFrame, size: tuple[int, int]) -> VideoFrame:
    """Pixels (height, width, 1 or 3) as a YUV 4:2:0 frame with the time and colours of another.

    `size` is (width, height), both even: see `even_size`. Where it is one pixel more than the
    picture, the last row or column is repeated; another picture is scaled.
    """
    import numpy as np

    width, height = size
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    right, below = width - pixels.shape[1], height - pixels.shape[0]
    if (right or below) and {right, below} <= {0, 1}:
        pixels = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge")
    made = load_av().VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    made.colorspace = RGB
    converted = _convert(
        made,
        WRITE_FLAGS,
        width=width,
        height=height,
        format="yuv420p",
        dst_colorspace=colours_of(like),
        dst_color_range=LIMITED,
    )
    converted.pts, converted.time_base = like.pts, like.time_base
    return converted


def colours_of(frame: VideoFrame) -> int:
    """The number of the colour space that a frame is written in: its own, unless that is RGB."""
    return BT709 if int(frame.colorspace) == RGB else int(frame.colorspace)


def even_size(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """The width and the height of a picture, each even: H.264 has half as many colours."""
    height, width = pixels.shape[:2]
    return width + width % 2, height + height % 2


def _convert(frame: VideoFrame, flags: tuple[str, ...], **wanted: object) -> VideoFrame:
    """A frame in another format, by a converter for each thread: it is slow to set up."""
    module = load_av().video.reformatter
    if not hasattr(_threads, "converters"):
        _threads.converters = {}
    converter = _threads.converters.setdefault(flags, module.VideoReformatter())
    chosen = reduce(or_, (module.Interpolation[name] for name in flags))
    converted: VideoFrame = converter.reformat(frame, interpolation=chosen, threads=1, **wanted)
    return converted
