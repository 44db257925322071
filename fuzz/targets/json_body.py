"""The typed API's JSON: one item, a list of items, and lines."""

from __future__ import annotations

from typing import Any

from fuzz.models import MODELS, make_request, refusals, run
from modelpad.server.protocols import native, repository

DECODERS = ("modelpad.server.protocols.native", "modelpad.server.protocols.repository")
JSON, LINES = "application/json", "application/x-ndjson"


async def read_parts(response: Any) -> bytes:
    """A streamed answer as a whole."""
    return b"".join([part async for part in response.parts])


def fuzz(data: bytes) -> None:
    """Asks every model by JSON, by a body without a type, and by lines."""
    for model in MODELS:
        for kind in (JSON, ""):
            with refusals():
                run(native.predict(model, make_request(data, content_type=kind)))
        with refusals():
            run(read_parts(native.predict_lines(model, make_request(data, content_type=LINES))))
    with refusals():
        repository.read_ready(make_request(data).parse_json(data))
