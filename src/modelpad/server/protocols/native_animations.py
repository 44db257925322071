"""Animations in the native API: a model that paints pictures paints each frame.

Every frame is a prediction of its own, and few of them are in the queue at once, so that other
requests get their turns between them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from modelpad.fields.animation import AnimationWriter, find_animation
from modelpad.fields.picture_format import PictureFormat
from modelpad.server.codec import Codec, Inputs, Outputs
from modelpad.server.http.messages import Request, Response
from modelpad.server.inference import Inference
from modelpad.server.models import ServedModel
from modelpad.server.protocols.native_items import predict_when_free
from modelpad.server.protocols.native_pictures import respond_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

AT_ONCE = 2  # frames of one animation that are queued or running


def take_frame(model: ServedModel, values: Mapping[str, object]) -> Inputs[None]:
    """A frame's values."""
    return Inputs(values=values, options=None)


async def write_frame(model: ServedModel, inputs: Inputs[None], outputs: Outputs) -> Pixels:
    """The painted frame."""
    return cast("Pixels", next(iter(outputs.values())))


FRAME = Codec(take_frame, write_frame)


async def respond_animation(
    inference: Inference,
    model: ServedModel,
    request: Request,
    values: Mapping[str, object],
    wanted: PictureFormat,
) -> Response | None:
    """The file of the painted frames; None if the picture among the values is still.

    Raises as `read_animation`, and what the first frame's prediction raises.
    """
    signature = model.bundle.manifest.signature
    animation = await asyncio.to_thread(find_animation, signature, values, wanted)
    if animation is None:
        return None
    request.stops_with_client = True
    request.reservation.grow(animation.held_bytes)
    writer = AnimationWriter(wanted, animation.timing)
    frames = animation.frames()
    pending: deque[asyncio.Task[Pixels]] = deque()
    try:
        while (frame := await asyncio.to_thread(next, frames, None)) is not None:
            if len(pending) == AT_ONCE:
                await asyncio.to_thread(writer.add, await pending.popleft())
            painting = predict_when_free(
                inference, model, FRAME, {**values, animation.field: frame}
            )
            pending.append(asyncio.create_task(painting))
        while pending:
            await asyncio.to_thread(writer.add, await pending.popleft())
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    return respond_file(model, await asyncio.to_thread(writer.write), wanted)
