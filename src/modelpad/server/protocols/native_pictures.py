"""Pictures in responses of the native API: a file where a model's only output is one, else JSON.

Files are encoded in another thread, so that the model and the event loop go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from modelpad.fields.image import Image
from modelpad.fields.picture_format import (
    QUALITY,
    PictureFormat,
    name_format,
    negotiate,
    read_quality,
)
from modelpad.server.http.messages import JSON, Request, Response

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelpad.fields import Signature
    from modelpad.server.codec import Outputs
    from modelpad.server.models import ServedModel

ANY = ("", "*/*")
SIGNS = ((b"\xff\xd8\xff", "jpeg"), (b"RIFF", "webp"), (b"GIF8", "gif"))  # how files begin


def choose_format(
    request: Request, values: Mapping[str, object], signature: Signature
) -> PictureFormat | None:
    """The format of the file to respond with; None for JSON.

    `?format=` decides, then `Accept`. Without either, a body of JSON is answered with JSON, and
    any other with a file in the format of the picture that was sent.

    Raises `InvalidInput` for an unknown format or quality.
    """
    if not signature.is_picture:
        return None
    query = request.query()
    quality = read_quality(query["quality"]) if "quality" in query else QUALITY
    wanted = query.get("format", "")
    if wanted:
        return None if wanted == "json" else PictureFormat(name_format(wanted), quality)
    accept = request.headers.get("accept", "").strip()
    if accept not in ANY:
        name = negotiate(accept)
    else:
        name = None if request.content_type == JSON else recognise(values)
    return None if name is None else PictureFormat(name, quality)


def recognise(values: Mapping[str, object]) -> str:
    """The format of the first file among the values: JPEG, WebP or GIF, else PNG."""
    for value in values.values():
        if isinstance(value, bytes | bytearray):
            for sign, name in SIGNS:
                if value.startswith(sign):
                    return name
    return "png"


async def respond_picture(model: ServedModel, outputs: Outputs, wanted: PictureFormat) -> Response:
    """The only output's picture as a file."""
    pixels = cast("NDArray[np.uint8]", next(iter(outputs.values())))
    return respond_file(model, await asyncio.to_thread(wanted.encode, pixels), wanted)


def respond_file(model: ServedModel, body: bytes, wanted: PictureFormat) -> Response:
    """A picture's file."""
    headers = {"x-modelpad-model": model.name, "x-modelpad-version": str(model.version)}
    return Response(body, wanted.media_type, headers=headers | {"vary": "accept"})


async def write_pictures(signature: Signature, outputs: Outputs) -> Outputs:
    """The outputs with `data:` URLs in place of pictures."""
    fields = [field for field in signature.outputs if isinstance(field, Image)]
    if not fields:
        return outputs
    urls = [await asyncio.to_thread(field.write_url, outputs[field.name]) for field in fields]
    return outputs | {field.name: url for field, url in zip(fields, urls, strict=True)}
