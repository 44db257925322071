"""TensorFlow Serving's REST API: rows, columns, examples, base64."""

from __future__ import annotations

from fuzz.models import MODELS, allow_errors, make_request, run
from modelpad.server.protocols import tfserving

DECODERS = ("modelpad.server.protocols.tfserving", "modelpad.server.protocols.tensors")


def fuzz(data: bytes) -> None:
    """Sends the input to every model with every method."""
    for model in MODELS:
        for call in (tfserving.predict, tfserving.classify, tfserving.regress):
            with allow_errors():
                run(call(model, make_request(data)))
