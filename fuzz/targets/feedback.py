"""Feedback: the first line is the content type, the rest a JSON object or a multipart form."""

from __future__ import annotations

from fuzz.models import MODELS, allow_errors, make_request
from modelpad.feedback import make_item, restore_values
from modelpad.server.protocols.feedback_body import read_submission

DECODERS = ("modelpad.server.protocols.feedback_body",)


def fuzz(data: bytes) -> None:
    """Reads the input as feedback for every model; what can be stored can be restored."""
    kind, _, body = data.partition(b"\n")
    content_type = kind.decode("latin-1").strip()
    for model in MODELS:
        with allow_errors():
            request = make_request(body, content_type=content_type)
            sent = read_submission(request, body, model.typed.signature, 1)
            model.typed.inputs.decode(sent.values)
            fields = model.typed.signature.inputs
            item = make_item(fields, sent.values)
            assert make_item(fields, restore_values(fields, item)) == item
