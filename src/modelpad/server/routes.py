"""What is asked at which path: the handlers, and the table of routes over them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from modelpad.errors import ModelpadError, NotFound, NotReady
from modelpad.server import errors, page
from modelpad.server.budget import Reservation
from modelpad.server.http.messages import JSON, Request, Response, parse_json, respond_json
from modelpad.server.lifecycle.overrides import LOAD, UNLOAD
from modelpad.server.lifecycle.shadowing import find_shadow
from modelpad.server.observability.metrics import CONTENT_TYPE
from modelpad.server.protocols import generate, native, openinference, repository, tfserving

if TYPE_CHECKING:
    from modelpad.server.app import App
    from modelpad.server.models import ServedModel

Names = Mapping[str, str]
Handler = Callable[["App", Request, Names], Awaitable[Response]]
Call = Callable[["ServedModel", Request], Awaitable[Response]]

# Paths whose route is remembered: a client chooses them, before it is known who asks.
MAX_CACHED_PATHS = 1000
MAX_CACHED_PATH_CHARS = 200
MAX_PATH_CHARS = 8192
MAX_QUOTED_CHARS = 200  # of a path, in an error
STICKY = "x-modelpad-sticky"  # requests with the same value get the same version


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path; `write_error` is how the route's protocol tells an error.

    Those that are not `guarded` are open to all: the page's own files, health, metrics. What `asks`
    a model can be refused when its queue is full; what is `admin` is for admins alone.

    The parts of the path in braces are handed to the handler by name.
    """

    method: str
    endpoint: str
    handler: Handler
    write_error: Callable[[ModelpadError], Response] = errors.respond_error
    guarded: bool = True
    asks: bool = False
    admin: bool = False
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        text = re.escape(self.endpoint).replace(r"\{", "{").replace(r"\}", "}")
        text = text.replace("{path}", "(?P<path>.+)")
        object.__setattr__(
            self, "pattern", re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", text))
        )


class RouteTable:
    """Finds the route of a request, and remembers the paths that were asked."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.routes = routes
        self._known: dict[tuple[str, str], tuple[Route, Names]] = {}

    def find(self, method: str, path: str) -> tuple[Route, Names] | Response:
        """The route and the names in its path; else the answer that says what there is."""
        if len(path) > MAX_PATH_CHARS:
            return errors.respond_problem(
                HTTPStatus.REQUEST_URI_TOO_LONG,
                "The path is too long.",
                f"Send at most {MAX_PATH_CHARS:,} characters.",
            )
        return self.lookup_cached(method, path) or self._search(method, path)

    def lookup_cached(self, method: str, path: str) -> tuple[Route, Names] | None:
        """What was found before."""
        return self._known.get((method, path))

    def _search(self, method: str, path: str) -> tuple[Route, Names] | Response:
        allowed = set()
        for route in self.routes:
            match = route.pattern.fullmatch(path)
            if match and route.method == method:
                names = match.groupdict()
                if len(path) <= MAX_CACHED_PATH_CHARS:
                    if len(self._known) >= MAX_CACHED_PATHS:
                        self._known.clear()
                    self._known[method, path] = route, names
                return route, names
            if match:
                allowed.add(route.method)
        path = path[:MAX_QUOTED_CHARS]
        # A client of a tensor protocol reads its errors alone.
        tensors = path.startswith(("/v1/models/", "/v2"))
        if allowed:
            words, hint = f"{path} does not take {method}.", f"Use {' or '.join(sorted(allowed))}."
            allow = {"allow": ", ".join(sorted(allowed))}
            status = HTTPStatus.METHOD_NOT_ALLOWED
            if tensors:
                return respond_json({"error": f"{words} {hint}"}, status=status, headers=allow)
            return errors.respond_problem(status, words, hint, **allow)
        lost = NotFound(
            f"There is nothing at {path}.",
            hint="The page is at /, the API's description at /docs.",
        )
        return errors.respond_words(lost, lost.words) if tensors else errors.respond_error(lost)


async def _find(app: App, request: Request, names: Names) -> ServedModel:
    key = request.headers.get(STICKY)
    return await app.find(names["model"], names.get("version", ""), key)


def _ask(call: Call) -> Handler:
    """A handler that asks a model by `call`, and takes the time."""

    async def handle(app: App, request: Request, names: Names) -> Response:
        model = await _find(app, request, names)
        shadow = find_shadow(app, model)
        with model.batcher.hold():
            if shadow is not None:
                request = await request.keep_body()
            start = time.perf_counter()
            response = await call(model, request)
        app.metrics.observe_prediction(time.perf_counter() - start, model=model.name)
        if shadow is not None and response.parts is not None and response.outputs is None:
            shadow.skip()  # a long list, which is not in memory as a whole
        elif shadow is not None:

            async def ask_again(version: ServedModel) -> Response:
                with Reservation(app.budget) as copied:
                    return await call(version, await request.keep_body(copied))

            shadow.compare(ask_again, response, _read_answer)
        return response

    return handle


def _read_answer(response: Response) -> object:
    """What an answer says, so that its version and the last bits of its numbers may differ."""
    if response.outputs is not None:
        return response.outputs
    head_bytes = response.headers.get(openinference.HEADER_LENGTH)
    if head_bytes is not None:
        return openinference.read_answer(response.body, int(head_bytes))
    return parse_json(response.body) if response.content_type == JSON else response.body


_predict = _ask(native.predict)


async def predict(app: App, request: Request, names: Names) -> Response:
    """`POST /predict` and `POST /predict/{model}`."""
    if "model" not in names:
        only = app.require_models().find_only(request.headers.get(STICKY))
        names = {"model": only.name, "version": str(only.version)}
    if request.content_type not in native.LINES:
        return await _predict(app, request, names)
    model = await _find(app, request, names)
    return native.predict_lines(model, request, find_shadow(app, model))


_generate = _ask(generate.generate)


async def generate_stream(app: App, request: Request, names: Names) -> Response:
    """`POST /v2/models/{model}/generate_stream`."""
    return generate.write_event(await _generate(app, request, names))


def _show(call: Callable[[ServedModel], Response]) -> Handler:
    """A handler that tells something of a model."""

    async def handle(app: App, request: Request, names: Names) -> Response:
        return call(await _find(app, request, names))

    return handle


async def show_v1_status(app: App, request: Request, names: Names) -> Response:
    """`GET /v1/models/{model}`, TensorFlow Serving's and KServe's."""
    app.require_ready()
    model = await _find(app, request, names) if "version" in names else None
    return tfserving.show_status(app.require_models().find_line(names["model"]), model)


async def show_v2_server(app: App, request: Request, names: Names) -> Response:
    """`GET /v2`."""
    return openinference.describe_server(admin=bool(app.admins))


async def check_v2_live(app: App, request: Request, names: Names) -> Response:
    """`GET /v2/health/live`."""
    return respond_json({"live": True})


async def check_v2_ready(app: App, request: Request, names: Names) -> Response:
    """`GET /v2/health/ready`: the specification says `live`, KServe reads `ready`: both."""
    app.require_ready()
    return respond_json({"live": True, "ready": True})


async def show_v2_model(app: App, request: Request, names: Names) -> Response:
    """`GET /v2/models/{model}`."""
    model = await _find(app, request, names)
    return openinference.describe_model(app.require_models().find_line(model.name), model)


async def check_v2_model(app: App, request: Request, names: Names) -> Response:
    """`GET /v2/models/{model}/ready`."""
    app.require_ready()
    model = await _find(app, request, names)
    return respond_json({"name": model.name, "ready": True})


async def show_v2_stats(app: App, request: Request, names: Names) -> Response:
    """`GET /v2/models/{model}/stats`."""
    model = await _find(app, request, names)
    metrics = await app.aggregate_metrics()
    return openinference.show_stats(model, metrics.count_of(model.name, model.version))


async def show_repository(app: App, request: Request, names: Names) -> Response:
    """`POST /v2/repository/index`."""
    body = await request.body()
    ready = repository.read_ready(request.parse_json(body) if body.strip() else {})
    entries = await repository.list_entries(app, ready=ready)
    return respond_json([asdict(each) for each in entries])


async def load_model(app: App, request: Request, names: Names) -> Response:
    """`POST /v2/repository/models/{model}/load`."""
    await app.override(LOAD, names["model"])
    return respond_json({})


async def unload_model(app: App, request: Request, names: Names) -> Response:
    """`POST /v2/repository/models/{model}/unload`."""
    await app.override(UNLOAD, names["model"])
    return respond_json({})


async def show_page(app: App, request: Request, names: Names) -> Response:
    """`GET /`: the page; for KServe's clients, which want JSON, a word of life."""
    if _wants_life(request.headers):
        return respond_json({"status": "alive"})
    return page.respond_file("index.html", request)


def _wants_life(headers: Mapping[str, str]) -> bool:
    """Whether JSON comes first, or KServe's own client asks: that says no more than httpx does."""
    accepted = headers.get("accept", "")
    from_httpx = headers.get("user-agent", "").startswith("python-httpx/")
    return accepted.startswith(JSON) or (accepted == "*/*" and from_httpx)


async def show_docs(app: App, request: Request, names: Names) -> Response:
    """`GET /docs`: the API, readable."""
    return page.respond_file("docs.html", request)


async def show_static(app: App, request: Request, names: Names) -> Response:
    """`GET /static/{file}`: what the page is made of."""
    return page.respond_file(names["path"], request)


async def list_models(app: App, request: Request, names: Names) -> Response:
    """`GET /models`: everything the page needs to know."""
    return Response(app.require_models().description, JSON)


async def show_file(app: App, request: Request, names: Names) -> Response:
    """`GET /models/{model}/files/{path}`: a sample or a report's picture."""
    name, file = names["model"], names["path"]
    body = await asyncio.to_thread(app.require_models().find(name).read_file, file)
    return page.respond_bundle_file(file, body)


async def check_alive(app: App, request: Request, names: Names) -> Response:
    """`GET /healthz`: the process answers, and no engine hangs that only a restart would free."""
    stuck = app.stalled_models() if app.channel is None else ""
    if stuck:
        raise NotReady(f"The engine hangs: {stuck}.", hint="Restart the server.")
    return respond_json({"status": "alive"})


async def check_ready(app: App, request: Request, names: Names) -> Response:
    """`GET /readyz`: the models are open and warm, else 503."""
    app.require_ready()
    return respond_json(
        {"status": "ready", "models": {model.name: model.version for model in app.require_models()}}
    )


async def show_metrics(app: App, request: Request, names: Names) -> Response:
    """`GET /metrics`: for Prometheus."""
    metrics = await app.aggregate_metrics()
    served = {model.name: model.version for model in app.models or ()}
    return Response(metrics.render(served), CONTENT_TYPE)


async def show_openapi(app: App, request: Request, names: Names) -> Response:
    """`GET /openapi.json`: the API's description."""
    from modelpad.server.openapi import describe_api

    return respond_json(await asyncio.to_thread(describe_api, app.require_models(), app.limits))


def _list_protocols() -> Iterator[Route]:
    """The routes of the tensor protocols; each that names a model may name a version of it."""
    for prefix in ("", "/versions/{version}", "/labels/{version}"):
        path = "/v1/models/{model}" + prefix
        told = tfserving.write_error
        for call in (tfserving.predict, tfserving.classify, tfserving.regress):
            yield Route("POST", f"{path}:{call.__name__}", _ask(call), told, asks=True)
        yield Route("GET", path, show_v1_status, told)
        yield Route("GET", f"{path}/metadata", _show(tfserving.show_metadata), told)
    told = openinference.write_error
    yield Route("GET", "/v2", show_v2_server, told)
    yield Route("GET", "/v2/", show_v2_server, told)
    yield Route("GET", "/v2/health/live", check_v2_live, told, guarded=False)
    yield Route("GET", "/v2/health/ready", check_v2_ready, told, guarded=False)
    path = "/v2/repository"
    yield Route("POST", f"{path}/index", show_repository, told, admin=True)
    for act in (load_model, unload_model):
        end = act.__name__.removesuffix("_model")
        yield Route("POST", f"{path}/models/{{model}}/{end}", act, told, admin=True)
    for prefix in ("", "/versions/{version}"):
        path = "/v2/models/{model}" + prefix
        yield Route("POST", f"{path}/infer", _ask(openinference.infer), told, asks=True)
        yield Route("POST", f"{path}/generate", _generate, told, asks=True)
        yield Route("POST", f"{path}/generate_stream", generate_stream, told, asks=True)
        yield Route("GET", path, show_v2_model, told)
        yield Route("GET", f"{path}/ready", check_v2_model, told)
        yield Route("GET", f"{path}/config", _show(openinference.show_config), told)
        yield Route("GET", f"{path}/stats", show_v2_stats, told)


ROUTES = (
    Route("POST", "/predict/{model}", predict, asks=True),
    Route("POST", "/predict", predict, asks=True),
    *_list_protocols(),
    Route("GET", "/", show_page, guarded=False),
    Route("GET", "/static/{path}", show_static, guarded=False),
    Route("GET", "/models", list_models),
    Route("GET", "/models/{model}/files/{path}", show_file),
    Route("GET", "/healthz", check_alive, guarded=False),
    Route("GET", "/ping", check_ready, guarded=False),
    Route("POST", "/invocations", predict, asks=True),
    Route("GET", "/livez", check_alive, guarded=False),
    Route("GET", "/readyz", check_ready, guarded=False),
    Route("GET", "/metrics", show_metrics, guarded=False),
    Route("GET", "/openapi.json", show_openapi),
    Route("GET", "/docs", show_docs, guarded=False),
)
