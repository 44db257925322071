"""The Open Inference Protocol over HTTP; the first line is the length of the JSON, or empty."""

from __future__ import annotations

from fuzz.models import MODELS, allow_errors, predict
from modelpad.server.protocols.openinference.requests import HEADER_LENGTH
from modelpad.server.protocols.openinference.routes import INFER

DECODERS = (
    "modelpad.server.protocols.openinference.datatypes",
    "modelpad.server.protocols.openinference.requests",
    "modelpad.server.protocols.openinference.responses",
    "modelpad.server.protocols.tensors",
)


def fuzz(data: bytes) -> None:
    """Sends the input to every model, as JSON or with binary tensors."""
    first, _, body = data.partition(b"\n")
    length = first.decode("latin-1").strip()
    headers = {HEADER_LENGTH: length} if length else {}
    for model in MODELS:
        with allow_errors():
            predict(model, INFER, body, **headers)
