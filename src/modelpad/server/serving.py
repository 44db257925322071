"""Runs the app on a socket until a signal stops it."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from modelpad.server.app import App
from modelpad.server.http.server import HttpServer
from modelpad.server.http.sockets import Address, Certificate, raise_descriptor_limit

if TYPE_CHECKING:
    import ssl

    from modelpad.server.grpc.listener import GrpcServer
    from modelpad.server.http.turns import AcceptTurns
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
    channel: SupervisorChannel | None = None,
    turns: AcceptTurns | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM; requests in flight then have `shutdown_timeout_s` to finish.

    `on_ready` is called once, when connections are accepted: by one of the workers when the process
    is one of several, which have a `channel` and take `turns` to accept. gRPC listens on an address
    of its own.

    Raises `UsageError` for a certificate that cannot be used; `MissingExtra` and `PortInUse` for
    gRPC.
    """
    context = None if tls is None else tls.open()
    raise_descriptor_limit()
    serving = _Serving(app, on_ready, shutdown_timeout_s, channel, turns)
    asyncio.run(serving.run(listener, context, grpc, tls))


class _Serving(msgspec.Struct):
    """Runs the server on an event loop: start, wait for a signal, stop."""

    app: App
    on_ready: Callable[[], None]
    shutdown_timeout_s: float
    channel: SupervisorChannel | None
    turns: AcceptTurns | None

    async def run(
        self,
        listener: socket.socket,
        context: ssl.SSLContext | None,
        grpc: Address | None,
        tls: Certificate | None,
    ) -> None:
        app, host, backend = self.app, self.app.host, self.app.backend
        http = HttpServer(app.respond, backend.limits, app.shed_load, backend.budget)
        stopped = asyncio.Event()
        for kind in STOP_SIGNALS:
            _on_signal(kind, stopped.set)
        if self.channel is not None:
            host.channel = self.channel
            await self.channel.open(host, self.on_ready, stopped.set)
        await host.start()
        calls = None if grpc is None else await self._listen_for_calls(grpc, tls)
        kept = 0 if calls is None else calls.max_connections
        await http.listen(listener, context, kept_descriptors=kept, turns=self.turns)
        tune_collector()
        self._report_ready()
        await stopped.wait()
        host.begin_stop()
        await self._drain(http, calls)
        await host.stop()

    async def _listen_for_calls(self, grpc: Address, tls: Certificate | None) -> GrpcServer:
        from modelpad.server.grpc.listener import GrpcServer

        calls = GrpcServer(self.app.backend, shared=self.channel is not None)
        await calls.listen(grpc, tls)
        return calls

    def _report_ready(self) -> None:
        if self.channel is None:
            self.on_ready()
        else:
            models = self.app.host.require_models()
            self.channel.report_ready({model.name: model.version for model in models})

    async def _drain(self, http: HttpServer, calls: GrpcServer | None) -> None:
        timeout_s = self.shutdown_timeout_s
        drained_calls = asyncio.sleep(0) if calls is None else calls.stop(timeout_s)
        cut, _ = await asyncio.gather(http.stop(timeout_s), drained_calls)
        if cut:
            log.warning("%d requests were cancelled after %g s", cut, timeout_s)


def tune_collector() -> None:
    """Excludes objects that live as long as the server from garbage collection.

    Each full collection would stop every request for as long as it takes to visit them. There is
    next to no garbage among them: looking for it would take a tenth of the cold start.
    """
    gc.freeze()


def _on_signal(kind: signal.Signals, act: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(kind, act)
    except NotImplementedError:  # Windows
        signal.signal(kind, lambda *_: loop.call_soon_threadsafe(act))
