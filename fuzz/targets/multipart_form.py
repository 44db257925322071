"""Multipart forms: the first line is the content type, the rest the body."""

from __future__ import annotations

from fuzz.models import MODELS, allow_errors, predict
from modelpad.server.protocols.native import NATIVE

DECODERS = ("modelpad.server.protocols.native", "modelpad.server.protocols.forms")


def fuzz(data: bytes) -> None:
    """Sends the input to every model."""
    kind, _, body = data.partition(b"\n")
    content_type = kind.decode("latin-1").strip()
    for model in MODELS:
        with allow_errors():
            predict(model, NATIVE, body, content_type=content_type)
