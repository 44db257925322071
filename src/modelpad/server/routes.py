"""All routes of the HTTP app: those of the protocols, the page's, and those for operations."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from modelpad.errors import NotReady
from modelpad.server import page
from modelpad.server.backend import Backend
from modelpad.server.http.messages import JSON, Request, Response, respond_json
from modelpad.server.json_schema import TEXT, Schema, make_object
from modelpad.server.model_table import Extras
from modelpad.server.observability.metrics import CONTENT_TYPE
from modelpad.server.protocols import collections, feedback, jobs, native, tfserving, videos
from modelpad.server.protocols.openai import routes as openai
from modelpad.server.protocols.openinference import routes as openinference
from modelpad.server.routing import Names, Operation, Route, RouteGroup

HTML: dict[str, Schema] = {"text/html": TEXT}
STATE: dict[str, Schema] = {JSON: make_object({"status": TEXT}, models={"type": "object"})}
ANY: dict[str, Schema] = {"*/*": {}}


async def show_page(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /`: the page; a status in JSON for KServe's clients."""
    if _wants_status(request.headers):
        return respond_json({"status": "alive"})
    return page.respond_index(request, is_open=not backend.access.wants_keys)


async def show_model_page(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /m/{model}`: the page, at one model; it reports unknown names itself."""
    return page.respond_index(request, is_open=not backend.access.wants_keys)


def _wants_status(headers: Mapping[str, str]) -> bool:
    """Whether the client prefers JSON or may be KServe's, which identifies itself as httpx."""
    accepted = headers.get("accept", "")
    from_httpx = headers.get("user-agent", "").startswith("python-httpx/")
    return accepted.startswith(JSON) or (accepted == "*/*" and from_httpx)


async def show_docs(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /docs`: the API, readable."""
    return page.respond_file("docs.html", request)


async def show_static(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /static/{path}`: the page's files."""
    return page.respond_file(names["path"], request)


async def list_models(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /models`: everything that the page shows."""
    models = backend.host.require_models()
    studio = backend.studio
    extras = Extras(
        feedback=backend.feedback is not None,
        studio=studio is not None,
        videos=studio is not None and studio.paints_videos,
    )
    return Response(models.describe(extras), JSON)


async def show_file(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /models/{model}/files/{path}`: a sample or a figure of the report."""
    path = names["path"]
    model = backend.host.require_models().find(names["model"])
    return page.respond_bundle_file(path, await asyncio.to_thread(model.read_file, path))


async def check_alive(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /healthz`, liveness: the process responds, and no engine is stuck.

    A supervisor replaces a worker whose engine hangs; without one this reports it.
    """
    stalled = backend.host.stalled_models() if backend.host.channel is None else ""
    if stalled:
        raise NotReady(f"The engine hangs: {stalled}.", hint="Restart the server.")
    return respond_json({"status": "alive"})


async def check_ready(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /readyz`, readiness: the models are loaded and warm, else 503."""
    backend.host.require_ready()
    models = {model.name: model.version for model in backend.host.require_models()}
    return respond_json({"status": "ready", "models": models})


async def show_metrics(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /metrics`: for Prometheus."""
    metrics = await backend.host.aggregate_metrics()
    served = {model.name: model.version for model in backend.host.models or ()}
    return Response(metrics.render(served), CONTENT_TYPE)


async def show_openapi(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /openapi.json`: the API's description."""
    from modelpad.server.openapi import describe_api  # not part of the cold start

    models = backend.host.require_models()
    response = respond_json(await asyncio.to_thread(describe_api, GROUPS, models, backend.limits))
    return await asyncio.to_thread(page.compress, response, request)


ALIVE = Operation("Liveness", STATE, needs_models=False)
READY = Operation("Readiness: the models are loaded and warm", STATE)

PAGE_ROUTES = (
    Route(
        "GET",
        "/",
        show_page,
        Operation(
            "The page; for programs a status",
            HTML | {JSON: make_object({"status": TEXT})},
            failures=("304",),
            needs_models=False,
        ),
        guarded=False,
    ),
    Route(
        "GET",
        "/m/{model}",
        show_model_page,
        Operation("The page, at one model", HTML, failures=("304",), needs_models=False),
        guarded=False,
    ),
    Route(
        "GET",
        "/static/{path}",
        show_static,
        Operation("The page's files", ANY, failures=("304", "404"), needs_models=False),
        guarded=False,
    ),
    Route(
        "GET",
        "/models",
        list_models,
        Operation("Every model served: fields, samples, card", {JSON: {}}),
    ),
    Route("GET", "/models/{model}/files/{path}", show_file, Operation("A sample or a figure", ANY)),
)
OPERATION_ROUTES = (
    Route("GET", "/healthz", check_alive, ALIVE, guarded=False),
    Route("GET", "/livez", check_alive, ALIVE, guarded=False),
    Route("GET", "/readyz", check_ready, READY, guarded=False),
    Route("GET", "/ping", check_ready, READY, guarded=False),
    Route(
        "GET",
        "/metrics",
        show_metrics,
        Operation(
            "Counters and histograms for Prometheus", {"text/plain": TEXT}, needs_models=False
        ),
        guarded=False,
    ),
    Route(
        "GET",
        "/openapi.json",
        show_openapi,
        Operation("This description", {JSON: {"type": "object"}}),
    ),
    Route(
        "GET",
        "/docs",
        show_docs,
        Operation("This description, readable", HTML, failures=("304",), needs_models=False),
        guarded=False,
    ),
)
GROUPS = (
    RouteGroup(
        "Predictions",
        "Every model by its own fields: JSON, forms, files, CSV; one item or a list.",
        native.ROUTES,
    ),
    RouteGroup("Feedback", "Whether predictions were right, for --feedback.", feedback.ROUTES),
    RouteGroup("OpenAI", "Language models for OpenAI's clients, unchanged.", openai.ROUTES),
    RouteGroup("Jobs", "Long work in the background: submit, follow, cancel.", jobs.ROUTES),
    RouteGroup("Collections", "Pictures for new models, for --studio.", collections.ROUTES),
    RouteGroup("Videos", "Videos for jobs to paint, for --studio.", videos.ROUTES),
    RouteGroup(
        "TensorFlow Serving",
        "The REST API of TensorFlow Serving: tensors by the model's own names.",
        tfserving.ROUTES,
    ),
    RouteGroup(
        "Open Inference Protocol",
        "Version 2, as Triton and KServe speak it: tensors in JSON or binary, text generation.",
        openinference.ROUTES,
    ),
    RouteGroup("Page and models", "The page, and what it shows.", PAGE_ROUTES),
    RouteGroup("Operations", "Health, metrics, and this description.", OPERATION_ROUTES),
)
ROUTES: tuple[Route, ...] = tuple(route for group in GROUPS for route in group.routes)
