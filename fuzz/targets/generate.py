"""Triton's generate extension: one item as flat JSON."""

from __future__ import annotations

from fuzz.models import MODELS, predict, refusals
from modelpad.server.protocols.generate import GENERATE

DECODERS = ("modelpad.server.protocols.generate",)


def fuzz(data: bytes) -> None:
    """Asks every model."""
    for model in MODELS:
        with refusals():
            predict(model, GENERATE, data)
