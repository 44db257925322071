"""Puts the app on a socket, with uvicorn; the one module that knows which HTTP server it is."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from modelpad.errors import ModelpadError, PortInUse
from modelpad.server.app import App

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes any that is free."""

    host: str = "127.0.0.1"
    port: int = 8080

    @property
    def url(self) -> str:
        """What to type into a browser on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def open_socket(address: Address) -> socket.socket:
    """A socket bound to `address`, so that a port in use is known before models are opened.

    Raises:
        PortInUse: another program listens there.
        ModelpadError: the address is not one of this machine's, or not allowed.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except (OSError, OverflowError) as error:
        listener.close()
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise PortInUse(
                f"Port {address.port} on {address.host} is in use.",
                hint=f"Choose another: --port {address.port + 1}, or --port 0 for any free one.",
                port=address.port,
            ) from None
        raise ModelpadError(
            f"Cannot listen on {address.host}:{address.port}: {error}.",
            hint="Check --host and --port.",
        ) from error
    return listener


def serve(
    app: App, listener: socket.socket, *, on_ready: Callable[[], None], log_requests: bool = False
) -> None:
    """Serves until SIGINT or SIGTERM, then finishes what is in flight (at most 10 s).

    `on_ready` is called once, when the socket accepts connections.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_ready()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn's own raises the signal again afterwards, and a clean stop exits with 0 here.
            before = {kind: signal.signal(kind, self.handle_exit) for kind in STOP_SIGNALS}
            try:
                yield
            finally:
                for kind, handler in before.items():
                    signal.signal(kind, handler)

    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=log_requests,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=None,
    )
    Server(config).run(sockets=[listener])
