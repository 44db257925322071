"""gRPC on a port of its own: the services, and errors as status codes.

On the wire a call with one request is a stream with one message. All methods are registered as
streams, so that grpcio reads nothing of a call before it is admitted.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from modelpad.errors import (
    InvalidInput,
    MissingExtra,
    ModelpadError,
    NotFound,
    Overloaded,
    PortInUse,
    forget_frames,
)
from modelpad.server.errors import INTERNAL_ERROR, code_of
from modelpad.server.grpc.calls import Call, Context, Metadata
from modelpad.server.grpc.connections import Connections
from modelpad.server.http.sockets import count_descriptors
from modelpad.server.protocols.protobuf import load_message

if TYPE_CHECKING:
    from modelpad.server.backend import Backend
    from modelpad.server.host import ModelHost
    from modelpad.server.http.messages import ServerLimits
    from modelpad.server.http.sockets import Address, Certificate
    from modelpad.server.protocols.grpc_messages import HealthCheckRequest, Message

log = logging.getLogger("modelpad.server")

# Calls whose request has another name.
REQUESTS = {"Check": "HealthCheckRequest", "ModelStreamInfer": "ModelInferRequest"}
STREAMS = ("ModelStreamInfer",)
FOR_ADMINS = ("RepositoryModelLoad", "RepositoryModelUnload")
HEALTH = "grpc.health.v1.Health"
OPEN_TO_ALL = ("ServerLive", "ServerReady", "Check")
SERVING, NOT_SERVING = 1, 2

MAX_STREAMS = 32  # of one worker; each may have a message in memory that is not counted
CALLS_PER_CONNECTION = 100
METADATA_BYTES = 8 * 1024
# What a peer may send on each call before it is admitted: HTTP/2's own default.
WINDOW_BYTES = 65_535
KEEPALIVE_S, KEEPALIVE_TIMEOUT_S = 60, 20
# Then a client is asked to connect again, give or take a tenth, once its calls are done: the system
# assigns each connection to a worker by chance, and none to one that has replaced another.
MAX_AGE_S = 300.0
PENDING_CALLS = 200  # accepted by grpcio, not seen by Python yet


class CallDetails(Protocol):
    """What grpcio knows of a call when it looks for its handler."""

    method: str
    invocation_metadata: Metadata


# A service's function for a call. Which message it takes is given by its name.
Act = Callable[[Any, Call], Awaitable["Message | bytes"]]
ActOnStream = Callable[[AsyncIterator[Any], Call], AsyncIterator["Message | bytes"]]
Handle = Callable[[Metadata, object, Context], Awaitable[bytes]]
HandleStream = Callable[[Metadata, object, Context], AsyncIterator[bytes]]


class Health:
    """`grpc.health.v1`, as Kubernetes asks."""

    def __init__(self, host: ModelHost, services: Collection[str]) -> None:
        self._host = host
        self.services = {"", *services}

    async def Check(self, request: HealthCheckRequest, call: Call) -> Message:
        """Serving once the models are loaded, until the server stops. Raises `NotFound`.

        Where keys are wanted the request is not read: the status is that of the whole server.
        """
        if request.service not in self.services:
            raise NotFound(f"There is no service {request.service!r} here.")
        status = SERVING if self._host.is_ready else NOT_SERVING
        response: Message = load_message("grpc.health.v1.HealthCheckResponse")(status=status)
        return response


class GrpcServer:
    """The gRPC services on one port."""

    def __init__(self, backend: Backend, *, shared: bool = False) -> None:
        """Other workers may share the port. Raises `MissingExtra` without `grpcio`."""
        try:
            import grpc
        except ImportError as error:
            raise MissingExtra("grpcio", extra="grpc") from error
        from modelpad.server.protocols import grpc_inference, grpc_tensorflow

        self.backend = backend
        self.grpc = grpc
        self.streams = 0
        self.connections = Connections()
        self.max_connections = count_grpc_connections(backend.limits)
        self._methods: dict[str, tuple[Callable[..., object], Handle | HandleStream]] = {}
        self.server = grpc.aio.server(
            options=[
                *list_options(backend.limits, self.max_connections),
                ("grpc.so_reuseport", int(shared)),  # else a port in use is an error
            ],
            maximum_concurrent_rpcs=backend.limits.connections,
        )
        host, inference = backend.host, backend.inference
        has_admins = bool(backend.access.admins)
        services: dict[str, object] = {
            grpc_inference.SERVICE: grpc_inference.InferenceService(
                host, inference, has_admins=has_admins
            ),
            grpc_tensorflow.PREDICTION: grpc_tensorflow.PredictionService(host, inference),
            grpc_tensorflow.MODELS: grpc_tensorflow.ModelService(host),
        }
        services[HEALTH] = Health(host, [*services, HEALTH])
        for service, calls in services.items():
            self._add(service, calls)

        class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
            """What grpcio asks for the handler of each call."""

            service = staticmethod(self._find_handler)

        self.server.add_generic_rpc_handlers((Handlers(),))

    async def listen(self, address: Address, tls: Certificate | None = None) -> int:
        """Accepts calls from now on; returns the port. Raises `PortInUse`."""
        host = f"[{address.host}]" if ":" in address.host else address.host  # an IPv6 address
        where = f"{host}:{address.port}"
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
                f"Port {address.port} on {address.host} is not available for gRPC.",
                hint="Choose another: --grpc-port",
                port=address.port,
            )
        await self.server.start()
        self.connections.watch(bound)
        return bound

    async def stop(self, shutdown_timeout_s: float) -> None:
        """Accepts no more calls; those in flight have `shutdown_timeout_s` to finish."""
        await self.server.stop(shutdown_timeout_s)
        self.connections.stop()

    def _add(self, service: str, calls: object) -> None:
        package = service.rpartition(".")[0]
        for name in (each for each in dir(calls) if each[0].isupper()):
            request = f"{package}.{REQUESTS.get(name, f'{name}Request')}"
            act = getattr(calls, name)
            path = f"/{service}/{name}"
            if name in STREAMS:
                make = self.grpc.stream_stream_rpc_method_handler
                self._methods[path] = make, self._stream(service, name, request, act)
            else:
                make = self.grpc.stream_unary_rpc_method_handler
                self._methods[path] = make, self._call(service, name, request, act)

    def _find_handler(self, details: CallDetails) -> object:
        """grpcio's handler of a call. Its metadata is bound, as each access copies it."""
        found = self._methods.get(details.method)
        if found is None:
            return None
        make, handle = found
        return make(partial(handle, details.invocation_metadata))

    def _call(self, service: str, name: str, request: str, act: Act) -> Handle:
        is_open = name in OPEN_TO_ALL
        is_admins = name in FOR_ADMINS

        async def handle(metadata: Metadata, _: object, context: Context) -> bytes:
            call = self._begin(metadata, context)
            with Outcome(self, service, name, call) as outcome:
                call.admit(admin=is_admins, guarded=not is_open)
                unread = is_open and self.backend.access.wants_keys  # anyone could have sent it
                response = await answer(call, unread=unread)
                call.expect_reader(len(response))
                return response
            return await self._abort(context, outcome)

        # A function of its own: grpcio keeps the frame of `handle`, with its variables, for long.
        async def answer(call: Call, *, unread: bool) -> bytes:
            message = load_message(request)() if unread else await call.read(request)
            if message is None:
                raise InvalidInput("The call has no message.")
            return _serialize(await act(message, call))

        return handle

    def _stream(self, service: str, name: str, request: str, act: ActOnStream) -> HandleStream:
        async def handle(metadata: Metadata, _: object, context: Context) -> AsyncIterator[bytes]:
            call = self._begin(metadata, context)
            with Outcome(self, service, name, call) as outcome, self._count_stream():
                call.admit()
                async for response in act(_read_all(call, request), call):
                    data = _serialize(response)
                    call.expect_reader(len(data))
                    yield data
                    call.release()
            if outcome.failure is not None:
                await self._abort(context, outcome)

        return handle

    def _begin(self, metadata: Metadata, context: Context) -> Call:
        async def abort(error: ModelpadError) -> None:
            with suppress(self.grpc.aio.BaseError, self.grpc.aio.AbortError):
                await context.abort(self.grpc.StatusCode[code_of(error)], error.words)

        return Call(self.backend, context, metadata, self.connections, abort)

    async def _abort(self, context: Context, outcome: Outcome) -> bytes:
        assert outcome.failure is not None
        status, words = outcome.failure
        await context.abort(self.grpc.StatusCode[status], words)
        return b""  # never: `abort` raises

    @contextmanager
    def _count_stream(self) -> Iterator[None]:
        if self.streams >= MAX_STREAMS:
            raise Overloaded(f"There are {MAX_STREAMS} streams already.", hint="Try again later.")
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1


class Outcome:
    """How a call ends: counts and traces it; `failure` is what its client is told.

    Errors end here, without their frames: grpcio keeps the exception that ends a call, and its
    traceback would keep the call's messages in memory.
    """

    def __init__(self, server: GrpcServer, service: str, name: str, call: Call) -> None:
        self.failure: tuple[str, str] | None = None
        self._server = server
        self._named = service, name
        self._call = call
        traces = server.backend.host.traces
        self._trace = None if traces is None else traces.begin(call.headers)

    def __enter__(self) -> Outcome:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        service, name = self._named
        status = "OK" if error is None else "CANCELLED"
        if isinstance(error, self._server.grpc.aio.AbortError):
            status = "INTERNAL" if self._call.failure is None else code_of(self._call.failure)
        elif isinstance(error, ModelpadError):
            status = code_of(error)
            self.failure = status, error.words
        elif isinstance(error, Exception):
            log.error("failed: %s", name, exc_info=error)
            status = "INTERNAL"
            self.failure = status, INTERNAL_ERROR.words
        self._server.backend.host.metrics.count_call(name, status)
        if self._trace is not None:
            self._trace.end_call(service, name, status)
        if self.failure is None or error is None:
            return False
        forget_frames(error)
        return True


def count_grpc_connections(limits: ServerLimits) -> int:
    """How many connections gRPC may have: at most a quarter of the descriptors."""
    return max(1, min(limits.connections, count_descriptors() // 4))


def list_options(limits: ServerLimits, connections: int) -> list[tuple[str, int]]:
    """grpcio's options for these limits; its defaults bound none of this."""
    return [
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.per_message_decompression", 0),  # its own has no limit
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        ("grpc.http2.bdp_probe", 0),  # would let windows grow to megabytes
        ("grpc.max_concurrent_streams", CALLS_PER_CONNECTION),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", 2 * METADATA_BYTES),
        ("grpc.max_allowed_incoming_connections", connections),
        ("grpc.server_handshake_timeout_ms", round(1000 * limits.header_s)),
        ("grpc.max_connection_idle_ms", round(1000 * limits.idle_s)),
        ("grpc.max_connection_age_ms", round(1000 * MAX_AGE_S)),
        ("grpc.keepalive_time_ms", 1000 * KEEPALIVE_S),
        ("grpc.keepalive_timeout_ms", 1000 * KEEPALIVE_TIMEOUT_S),
        ("grpc.server.max_pending_requests", PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", 2 * PENDING_CALLS),
    ]


async def _read_all(call: Call, request: str) -> AsyncIterator[Any]:
    while (message := await call.read(request, stream=True)) is not None:
        yield message


def _serialize(response: Message | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()
