"""Puts the app on a socket, and takes it off again when a signal says so."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelpad.errors import ModelpadError, PortInUse
from modelpad.server.app import App
from modelpad.server.wire import HttpServer

if TYPE_CHECKING:
    import ssl
    from asyncio import AbstractEventLoop

log = logging.getLogger("modelpad.server")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes any that is free."""

    host: str = "127.0.0.1"
    port: int = 8080
    tls: bool = False

    @property
    def url(self) -> str:
        """What to type into a browser on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        scheme = "https" if self.tls else "http"
        return (
            f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"
        )


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
    app: App,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None],
    grace_s: float = 10.0,
    tls: ssl.SSLContext | None = None,
    grpc: Address | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM, then answers what is in flight, within `grace_s`.

    `on_ready` is called once, when the socket accepts connections. gRPC has an address of its own.

    Raises `MissingExtra` and `PortInUse` for gRPC.
    """
    import asyncio

    async def live() -> None:
        loop = asyncio.get_running_loop()
        server = HttpServer(app.respond, app.limits)
        over = asyncio.Event()
        for kind in STOP_SIGNALS:
            _on_signal(loop, kind, over.set)
        calls = None
        if grpc is not None:
            from modelpad.server.grpc_listen import GrpcServer

            calls = GrpcServer(app)
            await calls.listen(grpc.host, grpc.port)
        await server.listen(listener, tls)
        await app.start()
        tune_collector()
        on_ready()
        await over.wait()
        app.stopping = True
        if calls is not None:
            await calls.stop(grace_s)
        cut = await server.stop(grace_s)
        if cut:
            log.warning("%d requests were cut off after %g s", cut, grace_s)
        await app.stop()

    asyncio.run(live())


def tune_collector() -> None:
    """Lets Python's garbage collector pass over what lives as long as the server.

    Bodies of nested lists make it run often, and each full run would stop every request.
    """
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _on_signal(loop: AbstractEventLoop, kind: signal.Signals, act: Callable[[], None]) -> None:
    try:
        loop.add_signal_handler(kind, act)
    except NotImplementedError:  # Windows
        signal.signal(kind, lambda *_: loop.call_soon_threadsafe(act))
