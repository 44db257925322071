"""Triton's generate extension: one item as flat JSON."""

from __future__ import annotations

from fuzz.models import MODELS, allow_errors, make_request, run
from modelpad.server.protocols import generate

DECODERS = ("modelpad.server.protocols.generate",)


def fuzz(data: bytes) -> None:
    """Sends the input to every model."""
    for model in MODELS:
        with allow_errors():
            run(generate.generate(model, make_request(data)))
