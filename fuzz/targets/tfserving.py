"""TensorFlow Serving's REST API: rows, columns, examples, base64."""

from __future__ import annotations

from fuzz.models import MODELS, allow_errors, predict
from modelpad.server.protocols.tfserving import CLASSIFY, PREDICT, REGRESS

DECODERS = (
    "modelpad.server.protocols.number_rows",
    "modelpad.server.protocols.tfserving",
    "modelpad.server.protocols.tfserving_inputs",
    "modelpad.server.protocols.tensors",
)


def fuzz(data: bytes) -> None:
    """Sends the input to every model with every method."""
    for model in MODELS:
        for codec in (PREDICT, CLASSIFY, REGRESS):
            with allow_errors():
                predict(model, codec, data)
