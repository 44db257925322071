"""The Open Inference Protocol over gRPC: a serialised `ModelInferRequest`."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from fuzz.models import INFERENCE, MODELS, allow_errors, make_call, run
from modelpad.server.protocols import grpc_inference
from modelpad.server.protocols.grpc_text import read_text_record
from modelpad.server.protocols.message_size import estimate_bytes
from modelpad.server.protocols.protobuf import load_message

DECODERS = (
    "modelpad.server.protocols.grpc_inference",
    "modelpad.server.protocols.grpc_text",
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
            run(INFERENCE.predict(model, grpc_inference.INFER, request, make_call()))
    with allow_errors():
        read_text_record(request, grpc_inference.read_tensors(request, make_call()))
