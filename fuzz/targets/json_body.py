"""The typed API's JSON: one item, a list of items, and lines."""

from __future__ import annotations

from typing import Any

from fuzz.models import INFERENCE, MODELS, make_request, predict, refusals, run
from modelpad.server.protocols import repository
from modelpad.server.protocols.native import TYPED
from modelpad.server.protocols.native_items import predict_lines, predict_list

DECODERS = (
    "modelpad.server.protocols.native",
    "modelpad.server.protocols.native_items",
    "modelpad.server.protocols.repository",
)
JSON, LINES = "application/json", "application/x-ndjson"


async def read_parts(response: Any) -> bytes:
    """A streamed answer as a whole."""
    return b"".join([part async for part in response.parts])


def fuzz(data: bytes) -> None:
    """Asks every model by JSON, by a body without a type, and by lines."""
    for model in MODELS:
        for kind in (JSON, ""):
            with refusals():
                predict(model, TYPED, data, content_type=kind)
        with refusals():
            run(predict_many(model, data))
        with refusals():
            request = make_request(data, content_type=LINES)
            run(read_parts(predict_lines(INFERENCE, model, request)))
    with refusals():
        repository.read_ready(make_request(data).parse_json(data))


async def predict_many(model: Any, data: bytes) -> None:
    """Asks with a list of items, where it is one."""
    request = make_request(data)
    items = request.parse_json(data)
    if isinstance(items, list) and items and isinstance(items[0], dict):
        await predict_list(INFERENCE, model, items, request.reservation)
