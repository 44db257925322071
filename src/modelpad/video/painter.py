"""A picture-to-picture model that paints frames, on several threads at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

from modelpad.engine import Session, SessionSettings
from modelpad.engine.session import allotted_cpus
from modelpad.engine.typed import TypedAccess
from modelpad.errors import InvalidInput
from modelpad.fields import Image
from modelpad.video.pixels import to_frame, to_picture

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray

    from modelpad.bundle import Bundle
    from modelpad.fields.signature import Signature

MAX_PIXELS_AT_A_TIME = 6_000_000  # over all threads: a picture's maps need many times its memory
WAITING = 2  # frames for each thread
PROBE = (16, 16)


class FramePainter:
    """Paints frames one by one or in a stream; every thread runs the graph on its own."""

    def __init__(self, bundle: Bundle, values: Mapping[str, object], pixels: int) -> None:
        """`values` are the model's other inputs, `pixels` those of a frame.

        Raises as `find_picture` and `Session`.
        """
        self.field = find_picture(bundle.manifest.signature, values)
        self.values = dict(values)
        self.workers, threads = plan_threads(pixels, allotted_cpus())
        self._session = Session(bundle, SessionSettings(threads=threads, arena=True))

    def paint(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The pixels (height, width, channels) that the model makes of a frame.

        Raises as the model's fields and `Session.predict`.
        """
        found = self._session.answer_small({**self.values, self.field.name: to_picture(frame)})
        return cast("NDArray[np.uint8]", next(iter(found.values())))

    def stream(self, frames: Iterable[VideoFrame], size: tuple[int, int]) -> Iterator[VideoFrame]:
        """The painted frames of a size, in order; a few are in memory. Raises as `paint`."""

        def work(frame: VideoFrame) -> VideoFrame:
            return to_frame(self.paint(frame), frame, size)

        waiting: deque[Future[VideoFrame]] = deque()
        pool = ThreadPoolExecutor(self.workers, "painter")
        try:
            for frame in frames:
                waiting.append(pool.submit(work, frame))
                if len(waiting) > WAITING * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Unloads the graph."""
        self._session.close()


def plan_threads(pixels: int, cpus: int) -> tuple[int, int]:
    """How many frames are painted at a time, and on how many threads each.

    One thread a frame wastes least; of large frames, fewer fit into memory.
    """
    workers = max(1, min(cpus, MAX_PIXELS_AT_A_TIME // max(1, pixels)))
    return workers, max(1, cpus // workers)


def find_picture(signature: Signature, values: Mapping[str, object]) -> Image:
    """The input that frames go into, once all others are known to be valid.

    Raises `InvalidInput` unless the model makes one picture of one, and for other inputs that are
    missing, unknown or not valid.
    """
    pictures = [field for field in signature.inputs if isinstance(field, Image)]
    if len(pictures) != 1 or not signature.is_picture:
        raise InvalidInput(
            "The model does not make a picture of a picture, so it cannot paint a video.",
            hint="Choose a model with one image as input and one as output.",
            field="video",
            expected="an image in, an image out",
            got=f"{len(pictures)} images in, {signature.outputs[0].kind} out",
        )
    from PIL import Image as Pillow

    probe = {pictures[0].name: Pillow.new("RGB", PROBE)}
    if pictures[0].name in values:
        raise InvalidInput(
            f"The input {pictures[0].name!r} is each frame of the video.",
            hint="Leave it out.",
            field=pictures[0].name,
            expected="nothing",
            got="a value",
        )
    TypedAccess(signature).inputs.decode({**values, **probe})
    return pictures[0]
