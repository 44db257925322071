"""TensorFlow Serving over gRPC: a serialised `PredictRequest`."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from fuzz.models import MODELS, allow_errors, run
from modelpad.server.protocols import grpc_tensorflow
from modelpad.server.protocols.protobuf import load_message

DECODERS = ("modelpad.server.protocols.grpc_tensorflow", "modelpad.server.protocols.protobuf")


def fuzz(data: bytes) -> None:
    """Sends the request to every model and writes the response."""
    try:
        request = load_message("tensorflow.serving.PredictRequest").FromString(data)
    except DecodeError:
        return  # gRPC itself rejects it
    for model in MODELS:
        with allow_errors():
            for array in run(grpc_tensorflow.infer(model, request)).values():
                grpc_tensorflow.write_tensor(array)
    for name, proto in request.inputs.items():
        grpc_tensorflow.read_tensor(proto, name)
