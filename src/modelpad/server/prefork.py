"""State created before the workers are forked, which they share.

The process that runs this becomes the supervisor, see `workers/supervisor.py`.
"""

from __future__ import annotations

from socket import socket
from typing import TYPE_CHECKING

import msgspec

from modelpad.errors import UsageError
from modelpad.server.http.sockets import Address, open_socket
from modelpad.server.http.turns import AcceptTurns
from modelpad.server.lifecycle.overrides import Overrides
from modelpad.server.security.auth import FAILURES_PER_S, MAX_FAILURES
from modelpad.server.security.rate_limits import RateLimiter
from modelpad.server.workers.memory import WorkerMemory

if TYPE_CHECKING:
    from modelpad.server.options import NetworkOptions, ServeOptions


class SharedState(msgspec.Struct, frozen=True):
    """The listening socket, counters in shared memory, and what each worker inherits a copy of."""

    listener: socket
    rates: RateLimiter | None
    failures: RateLimiter
    overrides: Overrides
    memory: WorkerMemory
    turns: AcceptTurns


def prepare_shared_state(options: ServeOptions) -> SharedState:
    """Binds the listening socket and creates what workers share. Raises as `launch`."""
    security = options.security
    return SharedState(
        listener=bind(options.network),
        rates=RateLimiter(security.rate_limit) if security.rate_limit else None,
        failures=RateLimiter(FAILURES_PER_S, MAX_FAILURES),
        overrides=Overrides(),
        turns=AcceptTurns(),
        memory=WorkerMemory(
            options.workers.max_memory_bytes, capped=options.models.device == "cpu"
        ),
    )


def bind(network: NetworkOptions) -> socket:
    """The socket of HTTP. A port in use is reported now, before models are loaded.

    Raises `PortInUse`, also for gRPC, and `UsageError` when both have the same port.
    """
    listener = open_socket(Address(network.host, network.port))
    if network.grpc_port == listener.getsockname()[1]:
        raise UsageError(
            f"HTTP and gRPC cannot both use port {network.grpc_port}.",
            hint="Choose another: --grpc-port PORT",
        )
    if network.grpc_port:
        open_socket(Address(network.host, network.grpc_port), "--grpc-port").close()
    return listener
