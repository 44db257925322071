"""Triton's generate extension: one item as flat JSON."""

from __future__ import annotations

from fuzz.models import MODELS, make_request, refusals, run
from modelpad.server.protocols import generate

DECODERS = ("modelpad.server.protocols.generate",)


def fuzz(data: bytes) -> None:
    """Asks every model."""
    for model in MODELS:
        with refusals():
            run(generate.generate(model, make_request(data)))
