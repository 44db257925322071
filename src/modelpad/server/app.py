"""The ASGI app: a table of routes over the opened models."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

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
    parse_json,
    respond_json,
)
from modelpad.server.log import log_request, name_request
from modelpad.server.metrics import CONTENT_TYPE, Metrics
from modelpad.server.models import ModelTable, ServedModel
from modelpad.server.protocols import openinference, tfserving, typed

if TYPE_CHECKING:
    from modelpad.engine import BatchRecord
    from modelpad.server.follow import Follower
    from modelpad.server.guard import Guard

log = logging.getLogger("modelpad.server")

Names = Mapping[str, str]
Handler = Callable[["App", Request, Names], Awaitable[Response]]

MOST_KNOWN_PATHS = 1000
STICKY = "x-modelpad-sticky"  # requests with the same value get the same version


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path; `write_error` is how the route's protocol tells an error.

    Those that are not `guarded` are open to all: the page's own files, health, metrics.

    The parts of the path in braces are handed to the handler by name.
    """

    method: str
    endpoint: str
    handler: Handler
    write_error: Callable[[ModelpadError], Response] = errors.respond_error
    guarded: bool = True
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        text = re.escape(self.endpoint).replace(r"\{", "{").replace(r"\}", "}")
        text = text.replace("{path}", "(?P<path>.+)")
        object.__setattr__(
            self, "pattern", re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", text))
        )


class App:
    """The server as one ASGI callable; `models` may be set after the socket is open."""

    def __init__(
        self,
        models: ModelTable | None = None,
        limits: ServerLimits | None = None,
        *,
        log_requests: bool = False,
        guard: Guard | None = None,
        paths: Mapping[str, str] | None = None,
        origins: Sequence[str] = (),
    ) -> None:
        """`paths` are other names for paths of ours, as clouds ask for them; pages of `origins` may
        ask from a browser."""
        self.models = models
        for model in models or ():
            self.watch(model)
        self.log_requests = log_requests
        self.guard = guard
        self.paths = dict(paths or {})
        self.origins = frozenset(origins)
        self.limits = limits or ServerLimits()
        self.stopping = False
        self.follower: Follower | None = None
        self._aside: set[asyncio.Task[None]] = set()
        self._routes: dict[tuple[str, str], tuple[Route, Names]] = {}
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

    def watch(self, model: ServedModel) -> None:
        """Counts what the model's engine does."""

        def observe(record: BatchRecord) -> None:
            self.metrics.observe_batch(record, model=model.name, version=model.version)

        model.runner.observe = observe

    def opened(self) -> ModelTable:
        """The models. Raises `NotReady` before they are opened."""
        if self.models is None:
            raise NotReady("The models are still being opened.", hint="Try again in a second.")
        return self.models

    def check_open(self) -> None:
        """Raises `NotReady` before the models are opened, and when the server is stopping."""
        self.opened()
        if self.stopping:
            raise NotReady("The server is stopping.", hint="Ask another.")

    def run_aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs something that no answer waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def start(self) -> None:
        """What runs beside the requests begins."""
        if self.follower is not None:
            self.run_aside(self.follower.run())

    async def stop(self) -> None:
        """What runs beside is stopped, and the models are closed."""
        for task in self._aside:
            task.cancel()
        if self.follower is not None:
            await self.follower.stop()
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
        origin = request.headers.get("origin", "")
        if not origin or origin not in self.origins:
            return await self._respond_logged(request)
        if request.method == "OPTIONS":
            return Response(status=HTTPStatus.NO_CONTENT, headers=allow_origin(origin))
        response = await self._respond_logged(request)
        return replace(response, headers={**response.headers, **allow_origin(origin)})

    async def _respond_logged(self, request: Request) -> Response:
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
            endpoint, name, response = await self._respond(request)
        except ClientGone:
            raise
        except Exception:
            log.exception("failed: %s %s", request.method, request.path)
            endpoint, name, response = (
                "",
                "",
                errors.respond_problem(
                    HTTPStatus.INTERNAL_SERVER_ERROR,
                    "The server failed on this request.",
                    "Its log says why.",
                ),
            )
        if endpoint:
            self.metrics.count_request(
                model=self.model_label(name), endpoint=endpoint, status=response.status
            )
        return response

    async def _respond(self, request: Request) -> tuple[str, str, Response]:
        method = "GET" if request.method == "HEAD" else request.method
        path = self.paths.get(request.path, request.path)
        found = self._routes.get((method, path)) or self._find_route(method, path)
        if isinstance(found, Response):
            return "", "", found
        route, names = found
        name = names.get("model", "")
        try:
            if route.guarded and self.guard is not None:
                self.metrics.count_key(self.guard.admit(request.headers))
            return route.endpoint, name, await route.handler(self, request, names)
        except ModelpadError as error:
            return route.endpoint, name, route.write_error(error)

    def _find_route(self, method: str, path: str) -> tuple[Route, Names] | Response:
        allowed = set()
        for route in ROUTES:
            match = route.pattern.fullmatch(path)
            if match and route.method == method:
                if len(self._routes) >= MOST_KNOWN_PATHS:
                    self._routes.clear()
                self._routes[method, path] = route, match.groupdict()
                return route, match.groupdict()
            if match:
                allowed.add(route.method)
        if allowed:
            return errors.respond_problem(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"{path} does not take {method}.",
                f"Use {' or '.join(sorted(allowed))}.",
                allow=", ".join(sorted(allowed)),
            )
        return errors.respond_problem(
            HTTPStatus.NOT_FOUND,
            f"There is nothing at {path}.",
            "The page is at /, the API's description at /docs.",
        )

    def model_label(self, name: str) -> str:
        """The name as a metric's label: only names that exist, as others could grow without end."""
        known = [] if self.models is None else [model.name for model in self.models]
        if not name and len(known) == 1:
            return known[0]
        return name if name in known else ""


async def predict(app: App, request: Request, names: Names) -> Response:
    """`POST /predict` and `POST /predict/{model}`."""
    if "model" not in names:
        only = app.opened().find_only(request.headers.get(STICKY))
        names = {"model": only.name, "version": str(only.version)}
    return await _ask(typed.predict)(app, request, names)


def allow_origin(origin: str) -> dict[str, str]:
    """The headers that let a page of another origin ask (https://fetch.spec.whatwg.org)."""
    return {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "authorization, content-type, x-api-key, x-request-id",
        "access-control-max-age": "600",
        "vary": "origin",
    }


def _find(app: App, request: Request, names: Names) -> ServedModel:
    key = request.headers.get(STICKY)
    return app.opened().find(names["model"], names.get("version", ""), key)


def _ask(call: Callable[[ServedModel, Request], Awaitable[Response]]) -> Handler:
    """A handler that asks a model by `call`, and takes the time."""

    async def handle(app: App, request: Request, names: Names) -> Response:
        model = _find(app, request, names)
        line = app.opened().lines[model.name]
        if line.shadow is not None and line.shadow != model.version:
            request = await request.keep_body()
        start = time.perf_counter()
        response = await call(model, request)
        app.metrics.observe_prediction(time.perf_counter() - start, model=model.name)
        if line.shadow is not None and line.shadow != model.version:
            app.run_aside(_ask_shadow(app, call, line.versions[line.shadow], request, response))
        return response

    return handle


async def _ask_shadow(
    app: App,
    call: Callable[[ServedModel, Request], Awaitable[Response]],
    shadow: ServedModel,
    request: Request,
    response: Response,
) -> None:
    """Asks a shadow the same, and counts how its answer compares; nobody hears it."""
    from modelpad.server.follow import answers_agree

    try:
        answer = await call(shadow, await request.keep_body())
        if answer.content_type == JSON:
            same = answers_agree(parse_json(response.body), parse_json(answer.body))
        else:
            same = answer.body == response.body
        result = "same" if same else "different"
    except ModelpadError:
        result = "failed"
    app.metrics.count_shadow(result, model=shadow.name, version=shadow.version)


def _show(call: Callable[[ServedModel], Response]) -> Handler:
    """A handler that tells something of a model."""

    async def handle(app: App, request: Request, names: Names) -> Response:
        return call(_find(app, request, names))

    return handle


async def show_v1_status(app: App, request: Request, names: Names) -> Response:
    """`GET /v1/models/{model}`, TensorFlow Serving's and KServe's."""
    model = _find(app, request, names) if "version" in names else None
    return tfserving.show_status(app.opened().find_line(names["model"]), model)


async def show_v2_server(app: App, request: Request, names: Names) -> Response:
    """`GET /v2`."""
    return openinference.describe_server()


async def check_v2_live(app: App, request: Request, names: Names) -> Response:
    """`GET /v2/health/live`."""
    return respond_json({"live": True})


async def check_v2_ready(app: App, request: Request, names: Names) -> Response:
    """`GET /v2/health/ready`: the specification says `live`, KServe reads `ready`: both."""
    app.check_open()
    return respond_json({"live": True, "ready": True})


async def show_v2_model(app: App, request: Request, names: Names) -> Response:
    """`GET /v2/models/{model}`."""
    model = _find(app, request, names)
    return openinference.describe_model(app.opened().find_line(model.name), model)


async def check_v2_model(app: App, request: Request, names: Names) -> Response:
    """`GET /v2/models/{model}/ready`."""
    app.check_open()
    model = _find(app, request, names)
    return respond_json({"name": model.name, "ready": True})


async def show_v2_stats(app: App, request: Request, names: Names) -> Response:
    """`GET /v2/models/{model}/stats`."""
    model = _find(app, request, names)
    return openinference.show_stats(model, app.metrics.count_of(model.name, model.version))


async def show_page(app: App, request: Request, names: Names) -> Response:
    """`GET /`: the page; for KServe's clients, which want JSON, a word of life."""
    if request.headers.get("accept", "").startswith(JSON):
        return respond_json({"status": "alive"})
    return page.respond_file("index.html", request)


async def show_docs(app: App, request: Request, names: Names) -> Response:
    """`GET /docs`: the API, readable."""
    return page.respond_file("docs.html", request)


async def show_static(app: App, request: Request, names: Names) -> Response:
    """`GET /static/{file}`: what the page is made of."""
    return page.respond_file(names["path"], request)


async def list_models(app: App, request: Request, names: Names) -> Response:
    """`GET /models`: everything the page needs to know."""
    return Response(app.opened().description, JSON)


async def show_file(app: App, request: Request, names: Names) -> Response:
    """`GET /models/{model}/files/{path}`: a sample or a report's picture."""
    name, file = names["model"], names["path"]
    body = await asyncio.to_thread(app.opened().find(name).read_file, file)
    return Response(body, page.content_type_of(file), headers={"cache-control": "no-cache"})


async def check_alive(app: App, request: Request, names: Names) -> Response:
    """`GET /healthz`: the process answers."""
    return respond_json({"status": "alive"})


async def check_ready(app: App, request: Request, names: Names) -> Response:
    """`GET /readyz`: the models are open and warm, else 503."""
    app.check_open()
    return respond_json(
        {"status": "ready", "models": {model.name: model.version for model in app.opened()}}
    )


async def show_metrics(app: App, request: Request, names: Names) -> Response:
    """`GET /metrics`: for Prometheus."""
    table = [] if app.models is None else list(app.models)
    body = app.metrics.render(
        models={model.name: model.version for model in table},
        waiting={model.name: model.runner.waiting for model in table},
    )
    return Response(body, CONTENT_TYPE)


async def show_openapi(app: App, request: Request, names: Names) -> Response:
    """`GET /openapi.json`: the API's description."""
    from modelpad.server.openapi import describe_api

    return respond_json(describe_api(app.opened(), app.limits))


def _list_protocols() -> Iterator[Route]:
    """The routes of the tensor protocols; each that names a model may name a version of it."""
    for prefix in ("", "/versions/{version}", "/labels/{version}"):
        path = "/v1/models/{model}" + prefix
        told = tfserving.write_error
        for call in (tfserving.predict, tfserving.classify, tfserving.regress):
            yield Route("POST", f"{path}:{call.__name__}", _ask(call), told)
        yield Route("GET", path, show_v1_status, told)
        yield Route("GET", f"{path}/metadata", _show(tfserving.show_metadata), told)
    told = openinference.write_error
    yield Route("GET", "/v2", show_v2_server, told)
    yield Route("GET", "/v2/health/live", check_v2_live, told, guarded=False)
    yield Route("GET", "/v2/health/ready", check_v2_ready, told, guarded=False)
    for prefix in ("", "/versions/{version}"):
        path = "/v2/models/{model}" + prefix
        yield Route("POST", f"{path}/infer", _ask(openinference.infer), told)
        yield Route("GET", path, show_v2_model, told)
        yield Route("GET", f"{path}/ready", check_v2_model, told)
        yield Route("GET", f"{path}/config", _show(openinference.show_config), told)
        yield Route("GET", f"{path}/stats", show_v2_stats, told)


ROUTES = (
    Route("POST", "/predict/{model}", predict),
    Route("POST", "/predict", predict),
    *_list_protocols(),
    Route("GET", "/", show_page, guarded=False),
    Route("GET", "/static/{path}", show_static, guarded=False),
    Route("GET", "/models", list_models),
    Route("GET", "/models/{model}/files/{path}", show_file),
    Route("GET", "/healthz", check_alive, guarded=False),
    Route("GET", "/ping", check_ready, guarded=False),
    Route("POST", "/invocations", predict),
    Route("GET", "/livez", check_alive, guarded=False),
    Route("GET", "/readyz", check_ready, guarded=False),
    Route("GET", "/metrics", show_metrics, guarded=False),
    Route("GET", "/openapi.json", show_openapi),
    Route("GET", "/docs", show_docs, guarded=False),
)
