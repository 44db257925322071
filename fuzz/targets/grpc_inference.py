"""The Open Inference Protocol over gRPC: a serialised `ModelInferRequest`."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from fuzz.models import MODELS, allow_errors, run
from modelpad.server.protocols import grpc_inference
from modelpad.server.protocols.message_size import estimate_bytes
from modelpad.server.protocols.protobuf import load_message

DECODERS = (
    "modelpad.server.protocols.grpc_inference",
    "modelpad.server.protocols.message_size",
    "modelpad.server.protocols.protobuf",
    "modelpad.server.protocols.tensors",
)


def fuzz(data: bytes) -> None:
    """Sends the request to every model and writes the response."""
    with allow_errors():
        estimate_bytes(data, "inference.ModelInferRequest")
    try:
        request = load_message("inference.ModelInferRequest").FromString(data)
    except DecodeError:
        return  # gRPC itself rejects it
    for model in MODELS:
        with allow_errors():
            outputs = run(grpc_inference.infer(model, request))
            grpc_inference.write_answer(model, request, outputs)
    grpc_inference.read_tensors(request)
