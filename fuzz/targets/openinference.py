"""The Open Inference Protocol over HTTP; the first line is the length of the JSON, or empty."""

from __future__ import annotations

from fuzz.models import MODELS, allow_errors, make_request, run
from modelpad.server.protocols import openinference

DECODERS = ("modelpad.server.protocols.openinference", "modelpad.server.protocols.tensors")


def fuzz(data: bytes) -> None:
    """Sends the input to every model, as JSON or with binary tensors."""
    first, _, body = data.partition(b"\n")
    length = first.decode("latin-1").strip()
    headers = {openinference.HEADER_LENGTH: length} if length else {}
    for model in MODELS:
        with allow_errors():
            response = run(openinference.infer(model, make_request(body, **headers)))
            size = response.headers.get(openinference.HEADER_LENGTH)
            if size:
                openinference.read_answer(response.body, int(size))
