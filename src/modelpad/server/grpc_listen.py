"""gRPC beside HTTP, on a port of its own: the services, and errors as gRPC's status codes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from modelpad import errors
from modelpad.errors import MissingExtra, ModelpadError, NotFound, PortInUse
from modelpad.server.errors import FAILED, find_nearest
from modelpad.server.protocols.messages import load_message, read_headers

if TYPE_CHECKING:
    from modelpad.server.app import App
    from modelpad.server.sockets import Address, Certificate
    from modelpad.server.traces import Trace

log = logging.getLogger("modelpad.server")

# The nearest class in an error's ancestry decides.
CODES: dict[type[ModelpadError], str] = {
    errors.ModelpadError: "INTERNAL",
    errors.InvalidInput: "INVALID_ARGUMENT",
    errors.TooLarge: "INVALID_ARGUMENT",
    errors.NotFound: "NOT_FOUND",
    errors.Overloaded: "RESOURCE_EXHAUSTED",
    errors.Unauthorized: "UNAUTHENTICATED",
    errors.Forbidden: "PERMISSION_DENIED",
    errors.NotReady: "UNAVAILABLE",
    errors.DeadlineExceeded: "DEADLINE_EXCEEDED",
}
# Calls whose messages are not named as the call is.
MESSAGES = {
    "Check": ("HealthCheckRequest", "HealthCheckResponse"),
    "ModelStreamInfer": ("ModelInferRequest", "ModelStreamInferResponse"),
}
STREAMS = ("ModelStreamInfer",)
FOR_ADMINS = ("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload")
HEALTH = "grpc.health.v1.Health"
OPEN_TO_ALL = ("ServerLive", "ServerReady", "Check")
SERVING, NOT_SERVING = 1, 2


class Health:
    """`grpc.health.v1`, as Kubernetes asks."""

    def __init__(self, app: App, services: Collection[str]) -> None:
        self.app = app
        self.services = {"", *services}

    async def Check(self, request: Any, context: Any) -> Any:
        """Serving once the models are open, until the server stops; `NotFound` for what is none."""
        if request.service not in self.services:
            raise NotFound(f"There is no service {request.service!r} here.")
        status = SERVING if self.app.is_ready else NOT_SERVING
        return load_message("grpc.health.v1.HealthCheckResponse")(status=status)


class GrpcServer:
    """The services of one app on one port."""

    def __init__(self, app: App, *, shared: bool = False) -> None:
        """The port may be `shared` with other workers. Raises `MissingExtra` without `grpcio`."""
        try:
            import grpc
        except ImportError as error:
            raise MissingExtra("grpcio", extra="grpc") from error
        from modelpad.server.protocols import grpc_inference, grpc_tensorflow

        self.app = app
        self.grpc = grpc
        size = app.limits.body_bytes
        options = [
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(shared)),  # else a port in use is an error
        ]
        self.server = grpc.aio.server(options=options)
        services: dict[str, Any] = {
            grpc_inference.SERVICE: grpc_inference.InferenceService(app),
            grpc_tensorflow.PREDICTION: grpc_tensorflow.PredictionService(app),
            grpc_tensorflow.MODELS: grpc_tensorflow.ModelService(app),
        }
        services[HEALTH] = Health(app, [*services, HEALTH])
        for service, calls in services.items():
            self._add(service, calls)

    async def listen(self, address: Address, tls: Certificate | None = None) -> int:
        """Accepts calls from now on; answers the port. Raises `PortInUse`."""
        where = f"{address.host}:{address.port}"
        try:
            if tls is None:
                bound = int(self.server.add_insecure_port(where))
            else:
                pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
                credentials = self.grpc.ssl_server_credentials([pair])
                bound = int(self.server.add_secure_port(where, credentials))
        except RuntimeError:
            bound = 0
        if not bound:
            raise PortInUse(
                f"Port {address.port} on {address.host} cannot be had for gRPC.",
                hint="Choose another: --grpc-port",
                port=address.port,
            )
        await self.server.start()
        return bound

    async def stop(self, grace_s: float) -> None:
        """Accepts no more, and answers what is in flight within `grace_s`."""
        await self.server.stop(grace_s)

    def _add(self, service: str, calls: Any) -> None:
        package = service.rpartition(".")[0]
        handlers = {}
        for name in (each for each in dir(calls) if each[0].isupper()):
            taken, given = MESSAGES.get(name, (f"{name}Request", f"{name}Response"))
            act = getattr(calls, name)
            make: Any
            handle: Any
            if name in STREAMS:
                make, handle = (
                    self.grpc.stream_stream_rpc_method_handler,
                    self._stream(service, name, act),
                )
            else:
                make, handle = (
                    self.grpc.unary_unary_rpc_method_handler,
                    self._call(service, name, act),
                )
            handlers[name] = make(
                handle,
                request_deserializer=load_message(f"{package}.{taken}").FromString,
                response_serializer=load_message(f"{package}.{given}").SerializeToString,
            )
        generic = self.grpc.method_handlers_generic_handler(service, handlers)
        self.server.add_generic_rpc_handlers((generic,))

    def _call(
        self, service: str, name: str, act: Callable[[Any, Any], Awaitable[Any]]
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        async def handle(request: Any, context: Any) -> Any:
            async with self._watch(service, name, context):
                if name not in OPEN_TO_ALL:
                    self.app.admit(read_headers(context), admin=name in FOR_ADMINS)
                return await act(request, context)

        return handle

    def _stream(
        self, service: str, name: str, act: Callable[[AsyncIterator[Any], Any], AsyncIterator[Any]]
    ) -> Callable[[AsyncIterator[Any], Any], AsyncIterator[Any]]:
        async def handle(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            async with self._watch(service, name, context):
                self.app.admit(read_headers(context))
                async for answer in act(requests, context):
                    yield answer

        return handle

    @asynccontextmanager
    async def _watch(self, service: str, name: str, context: Any) -> AsyncIterator[None]:
        """Counts and traces a call, and tells its error as gRPC does."""
        status = "OK"
        trace = self._begin_trace(context)
        try:
            yield
        except ModelpadError as error:
            status = code_of(error)
            await context.abort(self.grpc.StatusCode[status], error.words)
        except Exception:
            log.exception("failed: %s", name)
            status = "INTERNAL"
            await context.abort(self.grpc.StatusCode[status], FAILED.words)
        finally:
            self.app.metrics.count_call(name, status)
            if trace is not None:
                trace.end_call(service, name, status)

    def _begin_trace(self, context: Any) -> Trace | None:
        traces = self.app.traces
        return None if traces is None else traces.begin(read_headers(context))


def code_of(error: ModelpadError) -> str:
    """The name of the status code of the nearest ancestor that has one."""
    return find_nearest(CODES, error)
