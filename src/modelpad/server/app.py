"""The server as one ASGI app: its life, and the way of every request through it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from modelpad import __version__
from modelpad.engine import CALLER
from modelpad.errors import (
    Forbidden,
    ModelpadError,
    NotFound,
    NotReady,
    TooManyFailures,
    Unauthorized,
    forget_frames,
)
from modelpad.server import errors
from modelpad.server.budget import ByteBudget, Reservation
from modelpad.server.http.messages import (
    ClientGone,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    ServerLimits,
)
from modelpad.server.models import ModelTable, ServedModel
from modelpad.server.observability.access_log import log_request, name_request, read_trace
from modelpad.server.observability.metrics import (
    GRAPHS_OPEN,
    QUEUE_LENGTH,
    WORKERS,
    Labels,
    Metrics,
    Snapshot,
    name_version,
)
from modelpad.server.routes import ROUTES, Names, Route, RouteTable
from modelpad.server.security.origins import HostPolicy, check_host, check_origin

if TYPE_CHECKING:
    from modelpad.engine import BatchRecord
    from modelpad.server.lifecycle.reconciler import Reconciler
    from modelpad.server.observability.traces import Traces
    from modelpad.server.security.auth import ApiKeyAuth
    from modelpad.server.workers.channel import SupervisorChannel

log = logging.getLogger("modelpad.server")


class App:
    """The server as one ASGI callable; `models` may be set after the socket is open."""

    def __init__(
        self,
        models: ModelTable | None = None,
        limits: ServerLimits | None = None,
        *,
        log_requests: bool = False,
        guard: ApiKeyAuth | None = None,
        paths: Mapping[str, str] | None = None,
        origins: Sequence[str] = (),
        admins: Sequence[str] = (),
        hosts: HostPolicy | None = None,
    ) -> None:
        """`paths` are other names for paths of ours, as clouds ask for them; pages of `origins` may
        ask from a browser; owners of the keys named `admins` may change what is served; `hosts` are
        the host names that are answered, None for any."""
        self.models = models
        for model in models or ():
            self.watch(model)
        self.log_requests = log_requests
        self.guard = guard
        self.paths = dict(paths or {})
        self.origins = frozenset(origins)
        self.admins = frozenset(admins)
        self.hosts = hosts
        self.limits = limits or ServerLimits()
        self.budget = ByteBudget(self.limits.inflight_bytes)
        self.stopping = False
        self.reconciler: Reconciler | None = None
        self.channel: SupervisorChannel | None = None
        self.traces: Traces | None = None
        self._aside: set[asyncio.Task[None]] = set()
        self.routes = RouteTable(ROUTES)
        self.metrics = Metrics(__version__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request, or follows the server's life (ASGI 3)."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            reservation = Reservation(self.budget)
            request = Request.from_asgi(scope, receive, self.limits, reservation)
            with contextlib.suppress(ClientGone), reservation:
                response = await self.respond(request)
                await response.send(send, head_only=request.method == "HEAD")

    def watch(self, model: ServedModel) -> None:
        """Counts what the model's engine does."""

        def observe(record: BatchRecord) -> None:
            self.metrics.observe_batch(record, model=model.name, version=model.version)
            if self.traces is not None:
                self.traces.note_batch(record)

        model.batcher.observe = observe

    def require_models(self) -> ModelTable:
        """The models. Raises `NotReady` before they are opened."""
        if self.models is None:
            raise NotReady("The models are still being opened.", hint="Try again in a second.")
        return self.models

    @property
    def is_ready(self) -> bool:
        """Whether it may be asked: the models are open, and it is not stopping."""
        return self.models is not None and not self.stopping

    def require_ready(self) -> None:
        """Raises `NotReady` before the models are opened, and when the server is stopping."""
        self.require_models()
        if self.stopping:
            raise NotReady("The server is stopping.", hint="Ask another.")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs something that no answer waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def find(self, name: str, version: str = "", key: str | None = None) -> ServedModel:
        """The model that a request means; its tensors are known.

        Raises:
            ModelNotFound, VersionNotFound: there is none.
            BundleInvalid: its graph, which was not opened yet, cannot be.
        """
        model = self.require_models().find(name, version, key)
        if not model.batcher.session.is_described:
            await asyncio.to_thread(model.batcher.session.describe_tensors)
        if self.traces is not None:
            CALLER.get().note_model(model)
        return model

    def snapshot(self) -> Snapshot:
        """What this process counted, and how it is."""
        models = [] if self.models is None else self.models.versions
        waiting: Counter[Labels] = Counter()
        for model in models:
            waiting[("model", model.name),] += model.batcher.waiting
        opened = {name_version(m.name, m.version): int(m.batcher.session.is_open) for m in models}
        gauges: dict[str, Mapping[Labels, float]] = {
            WORKERS: {(): 1},
            QUEUE_LENGTH: waiting,
            GRAPHS_OPEN: opened,
        }
        return self.metrics.take(gauges)

    async def override(self, action: str, name: str) -> None:
        """Loads or unloads a model in all workers, for an admin.

        Raises as `Reconciler.override`.
        """
        if self.reconciler is None:
            raise NotFound("This server has no catalogue.", hint="Start it by: modelpad serve")
        if self.channel is not None:
            await self.channel.run_command(action, name)
        else:
            await self.reconciler.override(action, name)

    def admit(
        self,
        headers: Mapping[str, str],
        *,
        guarded: bool = True,
        admin: bool = False,
        client: str = "",
    ) -> None:
        """Lets a request in by its headers (lower case), whichever protocol it speaks.

        `client` is the address that it comes from.

        Raises:
            Unauthorized, TooManyFailures, RateLimited: as the guard does.
            NotFound: it is for admins, and there are none here.
            Forbidden: it is for admins, and this is another's key.
        """
        key = ""
        if guarded and self.guard is not None:
            try:
                key = self.guard.admit(headers, client)
            except (Unauthorized, TooManyFailures) as error:
                self.metrics.count_key_failure(str(error.details["reason"]))
                raise
            self.metrics.count_key(key)
        if not admin:
            return
        if not self.admins:
            raise NotFound(
                "What is served cannot be changed over the network here.",
                hint="Start the server with API keys and: --admin NAME",
            )
        if key not in self.admins:
            raise Forbidden("This key may not change what is served.", hint="Ask an admin.")

    def let_in(self, request: Request, route: Route) -> None:
        """Every check before a request reaches its handler: its host, its origin, its key.

        Raises:
            UnknownHost, ForeignOrigin: as `origins` does.
            Unauthorized, TooManyFailures, RateLimited, NotFound, Forbidden: as `admit` does.
        """
        check_host(self.hosts, request.headers)
        check_origin(request.method, request.headers, self.origins)
        client = request.client
        self.admit(request.headers, guarded=route.guarded, admin=route.admin, client=client)

    async def aggregate_metrics(self) -> Metrics:
        """What all workers counted."""
        everything = Metrics(__version__)
        own = self.snapshot()
        others = [] if self.channel is None else await self.channel.collect(own)
        for snapshot in (own, *others):
            everything.add(snapshot)
        return everything

    def stalled_models(self) -> str:
        """The models whose engine hangs, in words; "" when all is well."""
        models = [] if self.models is None else self.models.versions
        stuck = (model for model in models if model.batcher.is_stuck)
        return ", ".join(f"{model.name} version {model.version}" for model in stuck)

    async def start(self) -> None:
        """Looks at the store once; what runs beside the requests begins."""
        reconciler = self.reconciler
        if reconciler is not None and (
            reconciler.interval_s or reconciler.catalogue.overrides.loaded
        ):
            await reconciler.reconcile()
            if self.channel is None:
                self.spawn(reconciler.run())

    async def stop(self) -> None:
        """What runs beside is stopped, and the models are closed."""
        for task in self._aside:
            task.cancel()
        if self.channel is not None:
            await self.channel.close(self.snapshot())
        if self.reconciler is not None:
            await self.reconciler.stop()
        if self.models is not None:
            self.models.close()
        if self.traces is not None:
            await self.traces.stop()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def shed_load(self, request: Request) -> Response | None:
        """The answer to a request whose model's queue is full; None where it should be heard.

        What needs more than a look (a log line, a page of another origin, a path never seen) is
        heard, and refused by the queue itself.
        """
        known = self.routes.lookup_cached(request.method, request.path)
        if known is None or not known[0].asks or self.models is None or self.log_requests:
            return None
        route, names = known
        name = self.model_label(names.get("model", ""))
        line = self.models.lines.get(name)
        if line is None or not all(each.batcher.is_full for each in line.versions.values()):
            return None
        if "origin" in request.headers or "x-request-id" in request.headers:
            return None
        try:
            self.let_in(request, route)
            line.versions[line.live].batcher.check_free()
        except ModelpadError as error:
            response = route.write_error(error)
            self._count(route, names, response)
            return response
        return None

    async def respond(self, request: Request) -> Response:
        """The answer to any request, logged and counted. Raises `ClientGone` alone."""
        origin = request.headers.get("origin", "")
        if not origin or origin not in self.origins:
            return await self._respond_logged(request)
        if request.method == "OPTIONS":
            return Response(status=HTTPStatus.NO_CONTENT, headers=allow_origin(origin))
        response = await self._respond_logged(request)
        return replace(response, headers={**response.headers, **allow_origin(origin)})

    async def _respond_logged(self, request: Request) -> Response:
        watched = self.log_requests or self.traces is not None
        if not watched and "x-request-id" not in request.headers:
            return await self._respond(request)
        begin, name = time.perf_counter(), name_request(request)
        response, trace_id = await self._respond_traced(request, name)
        response = replace(response, headers={**response.headers, "x-request-id": name})
        if self.log_requests:
            log_request(request, response, time.perf_counter() - begin, name, trace_id)
        return response

    async def _respond_traced(self, request: Request, name: str) -> tuple[Response, str | None]:
        if self.traces is None:
            return await self._respond(request), read_trace(request)
        trace = self.traces.begin(request.headers)
        try:
            response = await self._respond(request)
        except BaseException:
            trace.end_gone()
            raise
        return trace.end_http(request, response, name), trace.id

    async def _respond(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        found = self.routes.find(method, self.paths.get(request.path, request.path))
        if isinstance(found, Response):
            return found
        route, names = found
        if self.traces is not None:
            CALLER.get().note_route(request, route.endpoint)
        try:
            self.let_in(request, route)
            response = await route.handler(self, request, names)
        except ModelpadError as error:
            response = route.write_error(error)
            forget_frames(error)
        except ClientGone:
            raise
        except Exception:
            log.exception("failed: %s %s", request.method, request.path)
            response = route.write_error(errors.FAILED)
        self._count(route, names, response)
        return response

    def _count(self, route: Route, names: Names, response: Response) -> None:
        name = self.model_label(names.get("model", ""))
        self.metrics.count_request(model=name, endpoint=route.endpoint, status=response.status)

    def model_label(self, name: str) -> str:
        """The name as a metric's label: only names that exist, as others could grow without end."""
        known = {} if self.models is None else self.models.lines
        if not name and len(known) == 1:
            return next(iter(known))
        return name if name in known else ""


def allow_origin(origin: str) -> dict[str, str]:
    """The headers that let a page of another origin ask (https://fetch.spec.whatwg.org)."""
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "authorization, content-type, x-api-key, x-modelpad-sticky,"
        " x-request-id",
        "access-control-max-age": "600",
        "vary": "origin",
    }
