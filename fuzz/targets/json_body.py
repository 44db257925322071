"""The native API's JSON: one item, a list of items, and NDJSON."""

from __future__ import annotations

from typing import Any

from fuzz.models import MODELS, allow_errors, make_request, run
from modelpad.server.protocols import native, repository

DECODERS = ("modelpad.server.protocols.native", "modelpad.server.protocols.repository")
JSON, LINES = "application/json", "application/x-ndjson"


async def read_parts(response: Any) -> bytes:
    """The whole body of a streamed response."""
    return b"".join([part async for part in response.parts])


def fuzz(data: bytes) -> None:
    """Sends the input to every model as JSON, without a content type, and as NDJSON."""
    for model in MODELS:
        for kind in (JSON, ""):
            with allow_errors():
                run(native.predict(model, make_request(data, content_type=kind)))
        with allow_errors():
            run(read_parts(native.predict_lines(model, make_request(data, content_type=LINES))))
    with allow_errors():
        repository.read_ready(make_request(data).parse_json(data))
