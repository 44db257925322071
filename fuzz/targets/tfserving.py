"""TensorFlow Serving's REST API: rows, columns, examples, base64."""

from __future__ import annotations

from fuzz.models import MODELS, make_request, refusals, run
from modelpad.server.protocols import tfserving

DECODERS = ("modelpad.server.protocols.tfserving", "modelpad.server.protocols.tensors")


def fuzz(data: bytes) -> None:
    """Asks every model in every way."""
    for model in MODELS:
        for call in (tfserving.predict, tfserving.classify, tfserving.regress):
            with refusals():
                run(call(model, make_request(data)))
