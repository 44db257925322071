"""The HTTP application: handles every request, and is also available as an ASGI app.

It checks access, finds the route, calls its handler, and logs, traces and counts the
response. What a route does is up to its handler.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec.structs import replace

from modelpad.engine import CALLER
from modelpad.errors import ModelpadError, forget_frames
from modelpad.server.backend import Backend
from modelpad.server.budget import Reservation
from modelpad.server.errors import INTERNAL_ERROR
from modelpad.server.http.messages import ClientGone, Receive, Request, Response, Scope, Send
from modelpad.server.observability.access_log import log_request, name_request, read_trace
from modelpad.server.routing import Match, Names, Route, RouteTable
from modelpad.server.security.origins import HostPolicy, allow_frames, check_host, check_origin

log = logging.getLogger("modelpad.server")


class HttpOptions(msgspec.Struct, frozen=True):
    """Options of the HTTP server.

    `paths` maps paths that cloud platforms require to our own. Pages of `origins` may send
    requests from a browser, those of `frame_ancestors` may show the page in a frame. `hosts` are
    the accepted host names, None for any.
    """

    log_requests: bool = False
    paths: Mapping[str, str] = {}
    origins: frozenset[str] = frozenset()
    hosts: HostPolicy | None = None
    frame_ancestors: tuple[str, ...] = ()


class App:
    """Answers HTTP requests by `routes`, which work with `backend`."""

    def __init__(
        self, backend: Backend, routes: Iterable[Route], options: HttpOptions | None = None
    ) -> None:
        self.backend = backend
        self.host = backend.host
        self.options = options or HttpOptions()
        self.routes = RouteTable(routes)
        self._is_plain = not self.options.log_requests and not self.options.frame_ancestors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request, or follows the server's lifespan (ASGI 3)."""
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        elif scope["type"] == "http":
            reservation = Reservation(self.backend.budget)
            request = Request.from_asgi(scope, receive, self.backend.limits, reservation)
            with contextlib.suppress(ClientGone), reservation:
                response = await self.respond(request)
                await response.send(send, head_only=request.method == "HEAD")

    def shed_load(self, request: Request) -> Response | None:
        """The error response to a prediction whose model's queue is full; else None.

        Called when the head has arrived and it is the request's turn, so that rejection under
        overload is cheap. Requests that need more than that (a log line, an allowed origin) go the
        usual way, and the queue itself rejects them. The route found here is kept for `respond`.
        """
        found = self._match(request)
        request.match = found
        if isinstance(found, Response) or not found[0].predicts:
            return None
        models = self.host.models
        if models is None or self.options.log_requests:
            return None
        route, names = found
        served = models.get(names.get("model", ""))
        if served is None:
            return None
        if not served.is_full:
            served.default_model.batcher.expected.add()
            return None
        if "origin" in request.headers or "x-request-id" in request.headers:
            return None
        try:
            self._check_access(request, route)
            served.default_model.batcher.check_free()
        except ModelpadError as error:
            response = route.write_error(error)
            self._count(route, names, response)
            return response
        return None

    def respond(self, request: Request) -> Awaitable[Response]:
        """The response to any request, logged and counted. Raises only `ClientGone`."""
        headers, is_plain = request.headers, self._is_plain and self.host.traces is None
        if is_plain and "origin" not in headers and "x-request-id" not in headers:
            return self._handle(request)  # neither logged nor for a page: as nearly every request
        return self._respond_framed(request)

    async def _respond_framed(self, request: Request) -> Response:
        response = await self._respond_shared(request)
        if not self.options.frame_ancestors:
            return response
        return replace(
            response, headers=allow_frames(response.headers, self.options.frame_ancestors)
        )

    async def _respond_shared(self, request: Request) -> Response:
        origin = request.headers.get("origin", "")
        if not origin or origin not in self.options.origins:
            return await self._respond_logged(request)
        if request.method == "OPTIONS":
            return Response(status=HTTPStatus.NO_CONTENT, headers=allow_origin(origin))
        response = await self._respond_logged(request)
        return replace(response, headers={**response.headers, **allow_origin(origin)})

    async def _respond_logged(self, request: Request) -> Response:
        is_watched = self.options.log_requests or self.host.traces is not None
        if not is_watched and "x-request-id" not in request.headers:
            return await self._handle(request)
        started, request_id = time.perf_counter(), name_request(request)
        response, trace_id = await self._respond_traced(request, request_id)
        response = replace(response, headers={**response.headers, "x-request-id": request_id})
        if self.options.log_requests:
            seconds = time.perf_counter() - started
            log_request(request, response, seconds, request_id, trace_id)
        return response

    async def _respond_traced(
        self, request: Request, request_id: str
    ) -> tuple[Response, str | None]:
        if self.host.traces is None:
            return await self._handle(request), read_trace(request)
        trace = self.host.traces.begin(request.headers)
        try:
            response = await self._handle(request)
        except BaseException:
            trace.end_gone()
            raise
        return trace.end_http(request, response, request_id), trace.id

    async def _handle(self, request: Request) -> Response:
        kept: Any = request.match
        found: Match | Response = kept or self._match(request)
        if isinstance(found, Response):
            return found
        route, names = found
        if self.host.traces is not None:
            CALLER.get().note_route(request, route.endpoint)
        try:
            self._check_access(request, route)
            response = await route.handler(self.backend, request, names)
        except ModelpadError as error:
            response = route.write_error(error)
            forget_frames(error)
        except ClientGone:
            raise
        except Exception:
            log.exception("failed: %s %s", request.method, request.path)
            response = route.write_error(INTERNAL_ERROR)
        self._count(route, names, response)
        return response

    def _match(self, request: Request) -> Match | Response:
        method = "GET" if request.method == "HEAD" else request.method
        return self.routes.find(method, self.options.paths.get(request.path, request.path))

    def _check_access(self, request: Request, route: Route) -> None:
        """Raises as `check_host`, `check_origin` and `AccessControl.admit` do."""
        check_host(self.options.hosts, request.headers)
        check_origin(request.method, request.headers, self.options.origins)
        request.owner = self.backend.access.admit(
            request.headers, guarded=route.guarded, admin=route.admin, client=request.client
        )

    def _count(self, route: Route, names: Names, response: Response) -> None:
        models, name = self.host.models, names.get("model", "")
        label = "" if models is None else models.label(name)
        self.host.metrics.count_request(
            model=label, endpoint=route.endpoint, status=response.status
        )

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.host.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.host.stop()
        await send({"type": "lifespan.shutdown.complete"})


def allow_origin(origin: str) -> dict[str, str]:
    """The headers that let a page of another origin send requests (https://fetch.spec.whatwg.org)."""
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, POST, DELETE",
        "access-control-allow-headers": "authorization, content-type, idempotency-key,"
        " last-event-id, x-api-key, x-modelpad-sticky, x-modelpad-token, x-request-id",
        "access-control-expose-headers": "location",
        "access-control-max-age": "600",
        "vary": "origin",
    }
