"""A gRPC call with modelpad's own messages, for tests that need no other client."""

from __future__ import annotations

from typing import Any

from modelpad.server.protocols.protobuf import load_message


def ask(address: str, path: str, request: Any, answer: str) -> Any:
    """The response, of the message `answer`, to a call of the method at `path`."""
    import grpc

    with grpc.insecure_channel(address) as channel:
        stub = channel.unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=load_message(answer).FromString,
        )
        return stub(request, timeout=30)
