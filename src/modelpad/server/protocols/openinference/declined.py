"""Extensions of Triton that modelpad declines, with the reason; none is among `extensions`.

Over HTTP they answer 501, over gRPC UNIMPLEMENTED, as Triton does for what is switched off.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelpad.errors import Unsupported
from modelpad.server.backend import Backend
from modelpad.server.http.messages import JSON, Request, Response
from modelpad.server.protocols.openinference.responses import write_error
from modelpad.server.routing import Handler, Names, Operation, Route

# What a client would have to be trusted with: a name in /dev/shm that the server then reads.
SHARED_MEMORY = (
    "Shared memory is not supported.",
    "Send tensors in the request.",
)
TRACING = (
    "Tracing cannot be read or changed over the network.",
    "Start the server with --otlp-endpoint.",
)
LOGGING = (
    "Logging cannot be read or changed over the network.",
    "Start the server with --log-requests for an access log.",
)


def decline(extension: tuple[str, str]) -> Unsupported:
    """The error for a request to one of the extensions above."""
    message, hint = extension
    return Unsupported(message, hint=hint)


def list_routes() -> Iterator[Route]:
    """The paths of the extensions."""
    for extension, summary, path in (
        (SHARED_MEMORY, "system shared memory", "/v2/systemsharedmemory/{path}"),
        (SHARED_MEMORY, "CUDA shared memory", "/v2/cudasharedmemory/{path}"),
        (TRACING, "trace settings", "/v2/trace/setting"),
        (TRACING, "a model's trace settings", "/v2/models/{model}/trace/setting"),
        (LOGGING, "log settings", "/v2/logging"),
    ):
        operation = Operation(
            f"Triton: {summary}; always declined", {JSON: {}}, failures=("501",), needs_models=False
        )
        for method in ("GET", "POST"):
            yield Route(method, path, _answer_with(extension), operation, write_error)


def _answer_with(extension: tuple[str, str]) -> Handler:
    async def handle(backend: Backend, request: Request, names: Names) -> Response:
        raise decline(extension)

    return handle
