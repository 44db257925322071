"""The protocol's routes. Each that names a model may name a version of it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import asdict

from modelpad.foreign_json import Json
from modelpad.server.backend import Backend
from modelpad.server.codec import Codec
from modelpad.server.http.messages import JSON, Request, Response, respond_json
from modelpad.server.json_schema import TEXT, Schema, make_object, refer
from modelpad.server.lifecycle.overrides import LOAD, UNLOAD
from modelpad.server.models import ServedModel
from modelpad.server.protocols import generate, repository
from modelpad.server.protocols.openinference import declined, descriptions, requests, responses
from modelpad.server.protocols.openinference.responses import OCTETS, write_error
from modelpad.server.routing import Names, Operation, Route, find_model, predict_with, show_model

INFER = Codec(requests.read, responses.write)
PREFIXES = ("", "/versions/{version}")
FLAG: Schema = {"type": "boolean"}


async def show_server(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /v2`."""
    return respond_json(descriptions.describe_server(admin=bool(backend.access.admins)))


async def check_live(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /v2/health/live`."""
    return respond_json({"live": True})


async def check_ready(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /v2/health/ready`: the specification says `live`, KServe reads `ready`: both."""
    backend.host.require_ready()
    return respond_json({"live": True, "ready": True})


async def show_metadata(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /v2/models/{model}`."""
    model = await find_model(backend, request, names)
    served = backend.host.require_models().find_versions(model.name)
    return respond_json(descriptions.describe_model(served, model))


def show_config(model: ServedModel) -> Response:
    """`GET /v2/models/{model}/config`."""
    return respond_json(descriptions.describe_config(model))


async def check_model(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /v2/models/{model}/ready`."""
    backend.host.require_ready()
    model = await find_model(backend, request, names)
    return respond_json({"name": model.name, "ready": True})


async def show_stats(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /v2/models/{model}/stats`: all versions where none is named; `GET /v2/models/stats`."""
    table = backend.host.require_models()
    models = descriptions.select_models(table, names.get("model", ""), names.get("version", ""))
    metrics = await backend.host.aggregate_metrics()
    return respond_json(descriptions.describe_stats(models, metrics))


async def list_repository(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /v2/repository/index`."""
    ready = bool((await _read_object(request)).get("ready"))
    entries = await repository.list_entries(backend.host, ready=ready)
    return respond_json([asdict(each) for each in entries])


async def load_model(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /v2/repository/models/{model}/load`."""
    parameters = (await _read_object(request)).get("parameters")
    await repository.override(backend.host, LOAD, names["model"], parameters)
    return respond_json({})


async def unload_model(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /v2/repository/models/{model}/unload`."""
    await repository.override(backend.host, UNLOAD, names["model"])
    return respond_json({})


async def _read_object(request: Request) -> dict[str, Json]:
    body = await request.body()
    return repository.read_object(request.parse_json(body) if body.strip() else {})


def _json(name: str) -> dict[str, Schema]:
    return {JSON: refer(name)}


SERVER = Operation("Open Inference Protocol: the server", _json("Server"), needs_models=False)
PREDICTION = Operation(
    "Open Inference Protocol: inference",
    _json("InferResponse") | {OCTETS: {}},
    _json("InferRequest") | {OCTETS: {}},
)


def _list_server_routes() -> Iterator[Route]:
    yield Route("GET", "/v2", show_server, SERVER, write_error)
    yield Route("GET", "/v2/", show_server, SERVER, write_error)
    yield Route(
        "GET",
        "/v2/health/live",
        check_live,
        Operation("Liveness", {JSON: make_object({"live": FLAG})}, needs_models=False),
        write_error,
        guarded=False,
    )
    yield Route(
        "GET",
        "/v2/health/ready",
        check_ready,
        Operation("Readiness", {JSON: make_object({"live": FLAG, "ready": FLAG})}),
        write_error,
        guarded=False,
    )


def _list_repository_routes() -> Iterator[Route]:
    path = "/v2/repository"
    index = Operation(
        "Triton: every version, and whether it is served",
        _json("Index"),
        _json("IndexRequest"),
    )
    load = Operation(
        "Triton, for admins: load a model",
        {JSON: {}},
        failures=("400", "403", "404", "500", "501"),
    )
    unload = Operation("Triton, for admins: unload a model", {JSON: {}}, failures=("403", "404"))
    yield Route("POST", f"{path}/index", list_repository, index, write_error)
    model = f"{path}/models/{{model}}"
    yield Route("POST", f"{model}/load", load_model, load, write_error, admin=True)
    yield Route("POST", f"{model}/unload", unload_model, unload, write_error, admin=True)


def _list_model_routes() -> Iterator[Route]:
    infer = predict_with(INFER)
    metadata = Operation("Open Inference Protocol: a model's tensors", _json("Model"))
    ready = Operation("A model's readiness", {JSON: make_object({"name": TEXT, "ready": FLAG})})
    config = Operation("Triton: the model's configuration", _json("Config"))
    stats = Operation("Triton: statistics", _json("Stats"))
    # Before the models: no other path can mean all of them.
    yield Route("GET", "/v2/models/stats", show_stats, stats, write_error)
    for prefix in PREFIXES:
        path = "/v2/models/{model}" + prefix
        yield Route("POST", f"{path}/infer", infer, PREDICTION, write_error, predicts=True)
        yield from generate.list_routes(path, write_error)
        yield Route("GET", path, show_metadata, metadata, write_error)
        yield Route("GET", f"{path}/ready", check_model, ready, write_error)
        yield Route("GET", f"{path}/config", show_model(show_config), config, write_error)
        yield Route("GET", f"{path}/stats", show_stats, stats, write_error)


ROUTES = (
    *_list_server_routes(),
    *_list_repository_routes(),
    *declined.list_routes(),
    *_list_model_routes(),
)
