"""The API's description in OpenAPI 3.1, made from the routes and the models served."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from modelpad import __version__
from modelpad.engine import TensorInfo
from modelpad.server import errors
from modelpad.server.http.messages import JSON, ServerLimits
from modelpad.server.models import ModelTable, ServedModel
from modelpad.server.protocols.openinference import DATATYPES
from modelpad.server.routes import ROUTES, Route
from modelpad.server.schemas import COMPONENTS, TEXT, Schema, make_object, refer
from modelpad.server.security.origins import SAFE_METHODS

BINARY = "application/octet-stream"
HTML: dict[str, Schema] = {"text/html": TEXT}
PREFIXES = ("/versions/{version}", "/labels/{version}")
PICTURES = ("sketch", "image")

# What a status means; each operation says which it can have.
MEANINGS = {
    "304": "not changed since the client's `ETag`",
    "400": "the input is wrong",
    "401": "no API key, or an unknown one, where the server wants keys",
    "403": "the API key may not do this, or a page of another site asked",
    "404": "no such model, version or file; the names that exist are told",
    "408": "the body took too long to arrive",
    "413": "the body, a picture or a tensor is too large",
    "421": "the server does not answer to this host name",
    "422": "the input does not fit: the field, what was expected and what came",
    "429": "too many requests wait, come with one key, or with wrong keys; see `Retry-After`",
    "500": "the model failed on this input, or the server",
    "503": "not ready",
    "504": "no answer in time",
}
ASKED = ("408", "413", "429", "500", "503", "504")


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route does: what it takes and gives, by content type, and how it can fail besides."""

    summary: str
    answers: dict[str, Schema]
    takes: dict[str, Schema] = field(default_factory=dict)
    fails: tuple[str, ...] = ()
    ready: bool = True  # whether it answers 503 before the models are open


def _json(name: str) -> dict[str, Schema]:
    return {JSON: refer(name)}


STATE = {JSON: make_object({"status": TEXT}, models={"type": "object"})}
INFER = _json("InferRequest") | {BINARY: {}}
GENERATE = _json("GenerateRequest")
V1, V2 = "/v1/models/{model}", "/v2/models/{model}"
READY = {"type": "boolean"}
OPERATIONS = {
    f"POST {V1}:predict": Operation(
        "TensorFlow Serving: predict", _json("PredictAnswer"), _json("PredictRequest")
    ),
    f"POST {V1}:classify": Operation(
        "TensorFlow Serving: classes with scores", _json("Classes"), _json("Examples")
    ),
    f"POST {V1}:regress": Operation(
        "TensorFlow Serving: numbers", _json("Numbers"), _json("Examples")
    ),
    f"GET {V1}": Operation("TensorFlow Serving: the versions' states", _json("Versions")),
    f"GET {V1}/metadata": Operation("TensorFlow Serving: the signature", _json("Metadata")),
    "GET /v2": Operation("Open Inference Protocol: the server", _json("Server"), ready=False),
    "GET /v2/": Operation("Open Inference Protocol: the server", _json("Server"), ready=False),
    "GET /v2/health/live": Operation(
        "Whether it lives", {JSON: make_object({"live": READY})}, ready=False
    ),
    "GET /v2/health/ready": Operation(
        "Whether it is ready", {JSON: make_object({"live": READY, "ready": READY})}
    ),
    f"GET {V2}": Operation("Open Inference Protocol: a model's tensors", _json("Model")),
    f"GET {V2}/ready": Operation(
        "Whether a model is ready", {JSON: make_object({"name": TEXT, "ready": READY})}
    ),
    f"GET {V2}/config": Operation("Triton: the model's configuration", _json("Config")),
    f"GET {V2}/stats": Operation("Triton: statistics", _json("Stats")),
    "POST /v2/repository/index": Operation(
        "Triton, for admins: every version, and whether it is served",
        _json("Index"),
        _json("IndexRequest"),
        fails=("403", "404", "422"),
    ),
    "POST /v2/repository/models/{model}/load": Operation(
        "Triton, for admins: serve a model", {JSON: {}}, fails=("403", "404", "500")
    ),
    "POST /v2/repository/models/{model}/unload": Operation(
        "Triton, for admins: serve a model no more", {JSON: {}}, fails=("403", "404")
    ),
    f"POST {V2}/infer": Operation(
        "Open Inference Protocol: inference", _json("InferAnswer") | {BINARY: {}}, INFER
    ),
    f"POST {V2}/generate": Operation(
        "Triton: one item by names", _json("GenerateAnswer"), GENERATE
    ),
    f"POST {V2}/generate_stream": Operation(
        "Triton: the same as an event", {"text/event-stream": make_object({"data": TEXT})}, GENERATE
    ),
    "GET /": Operation(
        "The page; for programs a word of life",
        HTML | {JSON: make_object({"status": TEXT})},
        fails=("304",),
        ready=False,
    ),
    "GET /docs": Operation("This description, readable", HTML, fails=("304",), ready=False),
    "GET /static/{path}": Operation(
        "What the page is made of", {"*/*": {}}, fails=("304", "404"), ready=False
    ),
    "GET /models": Operation("Every model served: fields, samples, card", {JSON: {}}),
    "GET /models/{model}/files/{path}": Operation("A sample or a picture", {"*/*": {}}),
    "GET /healthz": Operation("The process answers", STATE, ready=False),
    "GET /livez": Operation("The process answers", STATE, ready=False),
    "GET /readyz": Operation("The models are open and warm", STATE),
    "GET /ping": Operation("SageMaker: the models are open and warm", STATE),
    "GET /metrics": Operation(
        "Counters and histograms for Prometheus", {"text/plain": TEXT}, ready=False
    ),
    "GET /openapi.json": Operation("This description", {JSON: {"type": "object"}}),
}


def describe_api(models: ModelTable, limits: ServerLimits) -> dict[str, Any]:
    """The OpenAPI document: every route; the typed API once for each model, by its fields."""
    served = list(models)
    paths: dict[str, Any] = {}
    for route in ROUTES:
        if route.endpoint == "/predict/{model}":
            for model in served:
                told = _describe_predict(route, model, limits)
                paths[f"/predict/{model.name}"] = {"post": told}
        elif route.endpoint in ("/predict", "/invocations"):
            if len(served) == 1:
                told = _describe_predict(route, served[0], limits)
                paths[route.endpoint] = {"post": told | {"operationId": route.endpoint[1:]}}
        else:
            told = _describe_route(route, served)
            paths.setdefault(route.endpoint, {})[route.method.lower()] = told
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "modelpad",
            "version": __version__,
            "description": "Predictions of: " + ", ".join(model.name for model in served),
        },
        "paths": paths,
        "components": {"schemas": COMPONENTS},
    }


def _describe_route(route: Route, served: list[ServedModel]) -> dict[str, Any]:
    told = OPERATIONS[f"{route.method} {_strip_version(route.endpoint)}"]
    wrong = ("400", "404", *ASKED) if told.takes else ()
    closed = ("401", "421", "429", "500") if route.guarded else ("421", "500")
    foreign = () if route.method in SAFE_METHODS else ("403",)
    named = ("404",) if "{model}" in route.endpoint else ()
    ready = ("503",) if told.ready else ()
    example = _choose_example(route.endpoint, served)
    described: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.endpoint}"),
        "summary": told.summary,
        "responses": _describe_answers(
            told.answers, {*told.fails, *wrong, *closed, *foreign, *named, *ready}, route
        ),
    }
    parameters = [
        _describe_name(name, served, example) for name in re.findall(r"{(\w+)}", route.endpoint)
    ]
    if BINARY in told.takes:
        parameters.append(
            {
                "name": "Inference-Header-Content-Length",
                "in": "header",
                "description": "where the JSON head ends and binary tensors begin; 0: all is one",
                "schema": {"type": "integer", "minimum": 0},
            }
        )
    if parameters:
        described["parameters"] = parameters
    if told.takes:
        content = {kind: {"schema": schema} for kind, schema in told.takes.items()}
        if example is not None:
            content[JSON]["example"] = _write_example(route.endpoint, example)
        described["requestBody"] = {"required": True, "content": content}
    return described


def _strip_version(endpoint: str) -> str:
    for prefix in PREFIXES:
        endpoint = endpoint.replace(prefix, "")
    return endpoint


def _describe_answers(answers: dict[str, Schema], fails: set[str], route: Route) -> dict[str, Any]:
    content = {kind: {"schema": schema} for kind, schema in answers.items()}
    described: dict[str, Any] = {"200": {"description": "the answer", "content": content}}
    for status in sorted(fails):
        described[status] = {"description": MEANINGS[status]}
        if status != "304":
            # What is cut off while it arrives has reached no protocol yet.
            typed = route.write_error is errors.respond_error or status == "408"
            schema = refer("Error" if typed else "ErrorText")
            described[status]["content"] = {JSON: {"schema": schema}}
    return described


def _describe_name(name: str, served: list[ServedModel], example: ServedModel | None) -> Schema:
    told: Schema = {"name": name, "in": "path", "required": True, "schema": TEXT}
    if name == "model" and example is not None:
        names = {"type": "string", "enum": [model.name for model in served]}
        return told | {"schema": names, "example": example.name}
    if name == "version" and example is not None:
        return told | {
            "description": "a version's number, or an alias such as latest",
            "example": str(example.version),
        }
    return told


def _choose_example(endpoint: str, served: list[ServedModel]) -> ServedModel | None:
    """The model with the smallest input, among those that can be asked so."""
    kind = {"classify": "label", "regress": "score"}.get(endpoint.rpartition(":")[2])
    able = [
        model
        for model in served
        if kind is None
        or any(each.kind == kind for each in model.bundle.manifest.signature.outputs)
    ]
    return min(able, key=_count_numbers, default=served[0] if served else None)


def _count_numbers(model: ServedModel) -> int:
    return sum(abs(math.prod(info.shape)) for info in model.inputs)


def _write_example(endpoint: str, model: ServedModel) -> Any:
    items = {info.name: _make_item(info) for info in model.inputs}
    if "generate" in endpoint:
        return items
    if endpoint.startswith("/v1"):
        return {"instances" if endpoint.endswith(":predict") else "examples": [items]}
    return {
        "inputs": [
            {
                "name": info.name,
                "shape": [1, *(abs(side) for side in info.shape[1:])],
                "datatype": DATATYPES[info.dtype],
                "data": [items[info.name]],
            }
            for info in model.inputs
        ]
    }


def _make_item(info: TensorInfo) -> Any:
    item: Any = "text" if info.dtype == "string" else 0
    for side in reversed(info.shape[1:]):
        item = [item] * abs(side)
    return item


def _describe_predict(route: Route, model: ServedModel, limits: ServerLimits) -> dict[str, Any]:
    signature = model.bundle.manifest.signature
    inputs = {field.name: field.schema() for field in signature.inputs}
    form = {
        field.name: {"type": "string", "format": "binary"} if field.kind in PICTURES else TEXT
        for field in signature.inputs
    }
    content: dict[str, Any] = {
        JSON: {"schema": make_object(inputs)},
        "multipart/form-data": {"schema": make_object(form)},
    }
    if len(signature.inputs) == 1 and signature.inputs[0].kind in PICTURES:
        content |= {kind: {} for kind in ("image/png", "image/jpeg", "image/webp")}
    if len(signature.inputs) == 1 and signature.inputs[0].kind == "text":
        content["text/plain"] = {"schema": TEXT}
    return {
        "operationId": f"predict_{model.name}",
        "summary": f"{model.bundle.manifest.title or model.name}: one prediction",
        "description": model.bundle.manifest.summary
        + f" Bodies of up to {limits.body_bytes:,} bytes are taken.",
        "requestBody": {"required": True, "content": content},
        "responses": _describe_answers(
            {JSON: _describe_answer(model)}, {"401", "404", "422", *ASKED}, route
        ),
    }


def _describe_answer(model: ServedModel) -> Schema:
    fields = model.bundle.manifest.signature.outputs
    head: Schema = {"model": {"const": model.name}, "version": {"type": "integer"}}
    if len(fields) == 1 and fields[0].kind == "label":
        schema: Schema = fields[0].schema()
        names = ["model", "version", *schema["required"]]
        return {"type": "object", "required": names, "properties": head | schema["properties"]}
    return make_object(
        head | {"outputs": make_object({each.name: each.schema() for each in fields})}
    )
