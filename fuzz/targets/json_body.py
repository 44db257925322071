"""The native API's JSON: one item, a list of items, and NDJSON."""

from __future__ import annotations

from typing import Any

from fuzz.models import INFERENCE, MODELS, allow_errors, make_request, predict, run
from modelpad.server.protocols import repository
from modelpad.server.protocols.native import NATIVE
from modelpad.server.protocols.native_items import predict_lines, predict_list

DECODERS = (
    "modelpad.server.protocols.native",
    "modelpad.server.protocols.native_items",
    "modelpad.server.protocols.repository",
)
JSON, LINES = "application/json", "application/x-ndjson"


async def read_parts(response: Any) -> bytes:
    """The whole body of a streamed response."""
    return b"".join([part async for part in response.parts])


def fuzz(data: bytes) -> None:
    """Sends the input to every model as JSON, without a content type, and as NDJSON."""
    for model in MODELS:
        for kind in (JSON, ""):
            with allow_errors():
                predict(model, NATIVE, data, content_type=kind)
        with allow_errors():
            run(predict_many(model, data))
        with allow_errors():
            request = make_request(data, content_type=LINES)
            run(read_parts(predict_lines(INFERENCE, model, request)))
    with allow_errors():
        repository.read_object(make_request(data).parse_json(data))


async def predict_many(model: Any, data: bytes) -> None:
    """Predicts a list of items, if the input is one."""
    request = make_request(data)
    items = request.parse_json(data)
    if isinstance(items, list) and items and isinstance(items[0], dict):
        await predict_list(INFERENCE, model, items, request.reservation)
