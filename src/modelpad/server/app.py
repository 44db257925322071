"""The ASGI app: a table of routes over the opened models."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus

from modelpad import __version__
from modelpad.errors import ModelpadError, NotReady
from modelpad.server import errors, page
from modelpad.server.http import (
    JSON,
    ClientGone,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    ServerLimits,
    respond_json,
)
from modelpad.server.log import log_request, name_request
from modelpad.server.metrics import CONTENT_TYPE, Metrics
from modelpad.server.models import ModelTable, ServedModel
from modelpad.server.protocols import typed

log = logging.getLogger("modelpad.server")

Handler = Callable[["App", Request, str], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path; the path's one group, if it has any, is the handler's argument."""

    method: str
    pattern: re.Pattern[str]
    endpoint: str
    handler: Handler


class App:
    """The server as one ASGI callable; `models` may be set after the socket is open."""

    def __init__(
        self,
        models: ModelTable | None = None,
        limits: ServerLimits | None = None,
        *,
        log_requests: bool = False,
    ) -> None:
        self.models = models
        self.log_requests = log_requests
        self.limits = limits or ServerLimits()
        self.stopping = False
        self.metrics = Metrics(__version__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request, or follows the server's life (ASGI 3)."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            request = Request.from_asgi(scope, receive, self.limits)
            with contextlib.suppress(ClientGone):
                response = await self.respond(request)
                await response.send(send, head_only=request.method == "HEAD")

    def opened(self) -> ModelTable:
        """The models. Raises `NotReady` before they are opened."""
        if self.models is None:
            raise NotReady("The models are still being opened.", hint="Try again in a second.")
        return self.models

    async def start(self) -> None:
        """What runs beside the requests begins."""

    async def stop(self) -> None:
        """The models are closed."""
        if self.models is not None:
            self.models.close()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def respond(self, request: Request) -> Response:
        """The answer to any request, logged and counted. Raises `ClientGone` alone."""
        if not self.log_requests and "x-request-id" not in request.headers:
            return await self._respond_safely(request)
        begin, name = time.perf_counter(), name_request(request)
        response = await self._respond_safely(request)
        response = replace(response, headers={**response.headers, "x-request-id": name})
        if self.log_requests:
            log_request(request, response, time.perf_counter() - begin, name)
        return response

    async def _respond_safely(self, request: Request) -> Response:
        try:
            endpoint, response = await self._respond(request)
        except ClientGone:
            raise
        except Exception:
            log.exception("failed: %s %s", request.method, request.path)
            endpoint, response = (
                "",
                errors.respond_problem(
                    HTTPStatus.INTERNAL_SERVER_ERROR,
                    "The server failed on this request.",
                    "Its log says why.",
                ),
            )
        if endpoint:
            self.metrics.count_request(
                model=self._model_label(request), endpoint=endpoint, status=response.status
            )
        return response

    async def _respond(self, request: Request) -> tuple[str, Response]:
        method = "GET" if request.method == "HEAD" else request.method
        allowed = set()
        for route in ROUTES:
            match = route.pattern.fullmatch(request.path)
            if match and route.method == method:
                argument = match.group(1) if match.re.groups else ""
                try:
                    return route.endpoint, await route.handler(self, request, argument)
                except ModelpadError as error:
                    return route.endpoint, errors.respond_error(error)
            if match:
                allowed.add(route.method)
        if allowed:
            return "", errors.respond_problem(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"{request.path} does not take {request.method}.",
                f"Use {' or '.join(sorted(allowed))}.",
                allow=", ".join(sorted(allowed)),
            )
        return "", errors.respond_problem(
            HTTPStatus.NOT_FOUND,
            f"There is nothing at {request.path}.",
            "The page is at /, the API's description at /docs.",
        )

    def _model_label(self, request: Request) -> str:
        # Only names that exist become label values: anything else could grow without end.
        name = request.path.removeprefix("/predict").strip("/")
        known = [] if self.models is None else [model.name for model in self.models]
        if request.path.startswith("/predict") and not name and len(known) == 1:
            return known[0]
        return name if name in known else ""


async def predict(app: App, request: Request, name: str) -> Response:
    """`POST /predict` and `POST /predict/{model}`."""
    table = app.opened()
    model: ServedModel = table.find(name) if name else table.find_only()
    start = time.perf_counter()
    response = await typed.predict(model, request)
    app.metrics.observe_prediction(time.perf_counter() - start, model=model.name)
    return response


async def show_page(app: App, request: Request, _: str) -> Response:
    """`GET /`: the page."""
    return page.respond_file("index.html", request)


async def show_docs(app: App, request: Request, _: str) -> Response:
    """`GET /docs`: the API, readable."""
    return page.respond_file("docs.html", request)


async def show_static(app: App, request: Request, path: str) -> Response:
    """`GET /static/{file}`: what the page is made of."""
    return page.respond_file(path, request)


async def list_models(app: App, request: Request, _: str) -> Response:
    """`GET /models`: everything the page needs to know."""
    return Response(app.opened().description, JSON)


async def show_file(app: App, request: Request, path: str) -> Response:
    """`GET /models/{model}/files/{path}`: a sample or a report's picture."""
    name, _, file = path.partition("/files/")
    body = await asyncio.to_thread(app.opened().find(name).read_file, file)
    return Response(body, page.content_type_of(file), headers={"cache-control": "no-cache"})


async def check_alive(app: App, request: Request, _: str) -> Response:
    """`GET /healthz`: the process answers."""
    return respond_json({"status": "alive"})


async def check_ready(app: App, request: Request, _: str) -> Response:
    """`GET /readyz`: the models are open and warm, else 503."""
    if app.stopping:
        raise NotReady("The server is stopping.", hint="Ask another.")
    return respond_json(
        {"status": "ready", "models": {model.name: model.version for model in app.opened()}}
    )


async def show_metrics(app: App, request: Request, _: str) -> Response:
    """`GET /metrics`: for Prometheus."""
    table = [] if app.models is None else list(app.models)
    body = app.metrics.render(
        models={model.name: model.version for model in table},
        waiting={model.name: model.runner.waiting for model in table},
    )
    return Response(body, CONTENT_TYPE)


async def show_openapi(app: App, request: Request, _: str) -> Response:
    """`GET /openapi.json`: the API's description."""
    from modelpad.server.openapi import describe_api

    return respond_json(describe_api(app.opened(), app.limits))


def _route(method: str, path: str, handler: Handler) -> Route:
    pattern = re.sub(r"\{\w+\}", "([^/]+)", path.replace("{path}", "(.+)"))
    return Route(method, re.compile(pattern), path, handler)


ROUTES = (
    _route("POST", "/predict/{model}", predict),
    _route("POST", "/predict", predict),
    _route("GET", "/", show_page),
    _route("GET", "/static/{path}", show_static),
    _route("GET", "/models", list_models),
    Route("GET", re.compile("/models/([^/]+/files/.+)"), "/models/{model}/files/{path}", show_file),
    _route("GET", "/healthz", check_alive),
    _route("GET", "/readyz", check_ready),
    _route("GET", "/metrics", show_metrics),
    _route("GET", "/openapi.json", show_openapi),
    _route("GET", "/docs", show_docs),
)
