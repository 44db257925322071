"""The API's description in OpenAPI 3.1, made from the routes and the models served."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from modelpad import __version__
from modelpad.engine import TensorInfo
from modelpad.fields import Label, Signature
from modelpad.fields.picture_format import MEDIA_TYPES, QUALITY
from modelpad.foreign_json import list_at, object_at
from modelpad.server import errors
from modelpad.server.http.messages import JSON, ServerLimits
from modelpad.server.json_schema import TEXT, Schema, make_object, refer
from modelpad.server.model_table import ModelTable
from modelpad.server.models import ServedModel
from modelpad.server.protocols.native_csv import CSV
from modelpad.server.protocols.openai import errors as openai_errors
from modelpad.server.protocols.openinference.datatypes import name_datatype
from modelpad.server.routing import Route, RouteGroup
from modelpad.server.schemas import COMPONENTS
from modelpad.server.security.origins import SAFE_METHODS

BINARY = "application/octet-stream"
PICTURE_TYPES = tuple(MEDIA_TYPES.values())
# Media types of the kinds of inputs that are files.
FILES = {"sketch": PICTURE_TYPES, "image": PICTURE_TYPES, "audio": ("audio/wav",)}

# What a status means; each operation lists those that it can have.
MEANINGS = {
    "304": "not changed since the client's `ETag`",
    "400": "the input is wrong",
    "401": "no API key, or an unknown one, if the server requires keys",
    "403": "the API key may not do this, or a page of another site sent the request",
    "404": "no such model, version or file; the error lists those that exist",
    "408": "the body took too long to arrive",
    "409": "the job has ended, or the idempotency key is of another job",
    "413": "the body, a picture or a tensor is too large",
    "421": "the server does not accept this host name",
    "422": "the input does not fit: the field, what was expected, what was sent",
    "429": "the queue is full, the rate limit reached, or too many wrong keys; see `Retry-After`",
    "500": "the model or the server failed on this input",
    "501": "modelpad does not have this part of the protocol",
    "503": "not ready",
    "504": "no response in time",
    "507": "the server keeps no more feedback or pictures",
}
# The kind of output that a call needs; most need none in particular.
EXAMPLE_OUTPUTS = {"classify": "label", "regress": "score", "/feedback/{model}": "label"}
# The schema of a protocol's errors; those of tensor protocols are text.
ERRORS: dict[object, str] = {
    errors.respond_error: "Error",
    openai_errors.write_error: "OpenAIError",
}
PICTURE_PARAMETERS = [
    {
        "name": "format",
        "in": "query",
        "description": "the response's format; by default as in `Accept`",
        "schema": {"type": "string", "enum": [*MEDIA_TYPES, "json"]},
    },
    {
        "name": "quality",
        "in": "query",
        "description": "of JPEG and WebP",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": QUALITY},
    },
]
PREDICTION_FAILURES = ("408", "413", "429", "500", "503", "504")


def describe_api(groups: Iterable[RouteGroup], models: ModelTable, limits: ServerLimits) -> Schema:
    """The OpenAPI document: every route, with its group as tag.

    The native API is there once for each model, by its fields.
    """
    served = list(models)
    paths: dict[str, dict[str, Schema]] = {}
    groups = tuple(groups)
    for group in groups:
        for route in group.routes:
            for path, method, described in _describe_operations(route, served, limits):
                paths.setdefault(path, {})[method] = described | {"tags": [group.name]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "modelpad",
            "version": __version__,
            "description": "Predictions of: " + ", ".join(model.name for model in served),
        },
        "tags": [{"name": each.name, "description": each.summary} for each in groups],
        "paths": paths,
        "components": {"schemas": COMPONENTS},
    }


def _describe_operations(
    route: Route, served: list[ServedModel], limits: ServerLimits
) -> Iterator[tuple[str, str, Schema]]:
    """A route's operations: path, method and description."""
    if not route.operation.is_native:
        yield route.endpoint, route.method.lower(), _describe_route(route, served)
    elif "{model}" in route.endpoint:
        for model in served:
            described = _describe_predict(route, model, limits)
            yield route.endpoint.format(model=model.name), "post", described
    elif len(served) == 1:
        described = _describe_predict(route, served[0], limits)
        yield route.endpoint, "post", described | {"operationId": route.endpoint[1:]}


def _describe_route(route: Route, served: list[ServedModel]) -> Schema:
    operation = route.operation
    wrong = ("400", "404", *PREDICTION_FAILURES) if operation.requests else ()
    closed = ("401", "421", "429", "500") if route.guarded else ("421", "500")
    foreign = () if route.method in SAFE_METHODS else ("403",)
    named = ("404",) if "{model}" in route.endpoint else ()
    ready = ("503",) if operation.needs_models else ()
    example = _choose_example(route.endpoint, served) if "{model}" in route.endpoint else None
    described: Schema = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.endpoint}"),
        "summary": operation.summary,
        "responses": _describe_responses(
            operation.responses,
            {*operation.failures, *wrong, *closed, *foreign, *named, *ready},
            route,
        ),
    }
    parameters = [
        _describe_name(name, served, example) for name in re.findall(r"{(\w+)}", route.endpoint)
    ]
    if BINARY in operation.requests:
        parameters.append(
            {
                "name": "Inference-Header-Content-Length",
                "in": "header",
                "description": "length of the JSON before binary tensors; 0: a raw tensor",
                "schema": {"type": "integer", "minimum": 0},
            }
        )
    parameters += [
        {"name": name, "in": "query", "required": True, "schema": TEXT} for name in operation.query
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.requests:
        content: dict[str, Schema] = {
            kind: {"schema": schema} for kind, schema in operation.requests.items()
        }
        if example is not None:
            content[JSON]["example"] = _write_example(route.endpoint, example)
        described["requestBody"] = {"required": True, "content": content}
    return described


def _describe_responses(
    responses: Mapping[str, Schema], failures: set[str], route: Route
) -> dict[str, Schema]:
    content = {kind: {"schema": schema} for kind, schema in responses.items()}
    done: Schema = {"description": "the response", "content": content}
    described: dict[str, Schema] = {route.operation.status: done}
    for status in sorted(failures):
        described[status] = {"description": MEANINGS[status]}
        if status != "304":
            # A request that times out while it arrives has reached no protocol yet.
            own = ERRORS.get(route.write_error, "ErrorText")
            schema = refer("Error" if status == "408" else own)
            described[status]["content"] = {JSON: {"schema": schema}}
    return described


def _describe_name(name: str, served: list[ServedModel], example: ServedModel | None) -> Schema:
    parameter: Schema = {"name": name, "in": "path", "required": True, "schema": TEXT}
    if name == "model" and example is not None:
        names = {"type": "string", "enum": [model.name for model in served]}
        return parameter | {"schema": names, "example": example.name}
    if name == "version" and example is not None:
        return parameter | {
            "description": "a version's number, or an alias such as latest",
            "example": str(example.version),
        }
    return parameter


def _choose_example(endpoint: str, served: list[ServedModel]) -> ServedModel | None:
    """The model with the smallest input, among those that support the call."""
    kind = EXAMPLE_OUTPUTS.get(endpoint.rpartition(":")[2])
    capable = [
        model
        for model in served
        if kind is None
        or any(each.kind == kind for each in model.bundle.manifest.signature.outputs)
    ]
    return min(capable, key=_count_numbers, default=served[0] if served else None)


def _count_numbers(model: ServedModel) -> int:
    return sum(abs(math.prod(info.shape)) for info in model.inputs)


def _write_example(endpoint: str, model: ServedModel) -> object:
    if endpoint.startswith("/feedback"):
        return _write_feedback(model)
    items = {info.name: _make_item(info) for info in model.inputs}
    if "generate" in endpoint:
        return items
    if endpoint.startswith("/v1"):
        return {"instances" if endpoint.endswith(":predict") else "examples": [items]}
    return {
        "inputs": [
            {
                "name": info.name,
                "shape": [abs(side) for side in info.shape],
                "datatype": name_datatype(info.dtype),
                "data": items[info.name] if info.batch_axis is None else [items[info.name]],
            }
            for info in model.inputs
        ]
    }


def _write_feedback(model: ServedModel) -> object:
    signature = model.bundle.manifest.signature
    urls = {kind: f"data:{types[0]};base64,..." for kind, types in FILES.items()}
    values = {"text": "text", "number": 0, **urls}
    labels = [each.classes[0] for each in signature.outputs if isinstance(each, Label)]
    return {
        "inputs": {each.name: values.get(each.kind, []) for each in signature.inputs},
        "prediction": next(iter(labels), ""),
        "correct": True,
    }


def _make_item(info: TensorInfo) -> object:
    item: object = "text" if info.dtype == "string" else 0
    for side in reversed(info.item_shape):
        item = [item] * abs(side)
    return item


def _describe_predict(route: Route, model: ServedModel, limits: ServerLimits) -> Schema:
    signature = model.bundle.manifest.signature
    inputs = {field.name: field.schema() for field in signature.inputs}
    form = {
        field.name: {"type": "string", "format": "binary"} if field.kind in FILES else TEXT
        for field in signature.inputs
    }
    required = signature.required_inputs or signature.inputs
    names = [field.name for field in required]
    content: Schema = {
        JSON: {"schema": make_object(inputs) | {"required": names}},
        "multipart/form-data": {"schema": make_object(form) | {"required": names}},
        CSV: {"schema": TEXT},
    }
    if len(required) == 1:
        content |= {kind: {} for kind in FILES.get(required[0].kind, ())}
    if len(required) == 1 and required[0].kind == "text":
        content["text/plain"] = {"schema": TEXT}
    responses = {JSON: _describe_prediction(model), CSV: TEXT} | _describe_files(signature)
    return {
        "operationId": f"predict_{model.name}",
        "summary": f"{model.bundle.manifest.title or model.name}: one prediction",
        "description": model.bundle.manifest.summary
        + f" Bodies may have up to {limits.body_bytes:,} bytes.",
        "parameters": PICTURE_PARAMETERS if signature.is_picture else [],
        "requestBody": {"required": True, "content": content},
        "responses": _describe_responses(
            responses,
            {"401", "404", "422", *PREDICTION_FAILURES},
            route,
        ),
    }


def _describe_files(signature: Signature) -> dict[str, Schema]:
    """The files that a model responds with whose only output is a picture."""
    if not signature.is_picture:
        return {}
    return {kind: {"type": "string", "format": "binary"} for kind in MEDIA_TYPES.values()}


def _describe_prediction(model: ServedModel) -> Schema:
    fields = model.bundle.manifest.signature.outputs
    head: Schema = {"model": {"const": model.name}, "version": {"type": "integer"}}
    if len(fields) == 1 and fields[0].kind == "label":
        schema = fields[0].schema()
        names = ["model", "version", *list_at(schema, "required")]
        properties = head | object_at(schema, "properties")
        return {"type": "object", "required": names, "properties": properties}
    return make_object(
        head | {"outputs": make_object({each.name: each.schema() for each in fields})}
    )
