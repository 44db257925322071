"""Puts the app on a socket, and takes it off again when a signal says so."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelpad.server.allocator import map_large_blocks
from modelpad.server.app import App
from modelpad.server.http.server import HttpServer
from modelpad.server.http.sockets import Address, Certificate, raise_descriptor_limit

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from modelpad.server.workers.channel import SupervisorChannel

log = logging.getLogger("modelpad.server")

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(
    app: App,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None],
    shutdown_timeout_s: float = 10.0,
    tls: Certificate | None = None,
    grpc: Address | None = None,
    link: SupervisorChannel | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM, then answers what is in flight, within `shutdown_timeout_s`.

    `on_ready` is called once, when the socket accepts connections. gRPC has an address of its own.
    As one of several workers it follows `link`, which says when all are ready.

    Raises `UsageError` for a certificate that cannot be used; `MissingExtra` and `PortInUse` for
    gRPC.
    """
    import asyncio

    context = None if tls is None else tls.open()
    raise_descriptor_limit()
    map_large_blocks()

    async def live() -> None:
        loop = asyncio.get_running_loop()
        host, backend = app.host, app.backend
        server = HttpServer(app.respond, backend.limits, app.shed_load, backend.budget)
        over = asyncio.Event()
        for kind in STOP_SIGNALS:
            _on_signal(loop, kind, over.set)
        if link is not None:
            host.channel = link
            await link.open(host, on_ready, over.set)
        await host.start()
        calls = None
        if grpc is not None:
            from modelpad.server.grpc.listener import GrpcServer

            calls = GrpcServer(backend, shared=link is not None)
            await calls.listen(grpc, tls)
        kept = 0 if calls is None else calls.max_connections
        await server.listen(listener, context, kept_descriptors=kept)
        tune_collector()
        if link is not None:
            link.ready(host)
        else:
            on_ready()
        await over.wait()
        host.stopping = True
        others = asyncio.sleep(0) if calls is None else calls.stop(shutdown_timeout_s)
        cut, _ = await asyncio.gather(server.stop(shutdown_timeout_s), others)
        if cut:
            log.warning("%d requests were cut off after %g s", cut, shutdown_timeout_s)
        await host.stop()

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
