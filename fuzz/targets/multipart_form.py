"""Multipart forms: the first line is the content type, the rest the body."""

from __future__ import annotations

from fuzz.models import MODELS, allow_errors, make_request, run
from modelpad.server.protocols import native

DECODERS = ("modelpad.server.protocols.native",)


def fuzz(data: bytes) -> None:
    """Sends the input to every model."""
    kind, _, body = data.partition(b"\n")
    content_type = kind.decode("latin-1").strip()
    for model in MODELS:
        with allow_errors():
            run(native.predict(model, make_request(body, content_type=content_type)))
