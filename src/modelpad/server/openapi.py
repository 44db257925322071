"""The API's description in OpenAPI 3.1, made from the signatures of the models served."""

from __future__ import annotations

from typing import Any

from modelpad import __version__
from modelpad.server.http import ServerLimits
from modelpad.server.models import ModelTable, ServedModel

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "hint"],
            "properties": {
                "message": {"type": "string", "description": "what is wrong"},
                "hint": {"type": "string", "description": "what to do"},
                "field": {"type": "string"},
                "expected": {"type": "string"},
                "got": {},
            },
        }
    },
}
PREDICT_ERRORS = {
    "404": "no such model; the names that exist are in `known`",
    "413": "the body or the picture is too large",
    "422": "the input does not fit: the field, what was expected and what came",
    "429": "too many requests wait; try again after `Retry-After` seconds",
    "500": "the model failed on this input",
    "503": "not ready",
    "504": "no answer in time",
}
PLAIN = {
    "/": ("The page", "text/html", {"type": "string"}),
    "/docs": ("This description, readable", "text/html", {"type": "string"}),
    "/models": ("Every model served: fields, samples, card", "application/json", {}),
    "/healthz": ("The process answers", "application/json", {"type": "object"}),
    "/readyz": ("The models are open and warm", "application/json", {"type": "object"}),
    "/metrics": ("Counters and histograms for Prometheus", "text/plain", {"type": "string"}),
    "/openapi.json": ("This description", "application/json", {"type": "object"}),
}


def describe_api(models: ModelTable, limits: ServerLimits) -> dict[str, Any]:
    """The OpenAPI document."""
    served = list(models)
    paths: dict[str, Any] = {path: _describe_get(*row) for path, row in PLAIN.items()}
    for model in served:
        paths[f"/predict/{model.name}"] = {"post": _describe_predict(model, limits)}
    if len(served) == 1:
        alone = _describe_predict(served[0], limits) | {"operationId": "predict"}
        paths["/predict"] = {"post": alone}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "modelpad",
            "version": __version__,
            "description": "Predictions of: " + ", ".join(model.name for model in served),
        },
        "paths": paths,
        "components": {"schemas": {"Error": ERROR}},
    }


def _describe_get(summary: str, content_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {
        "200": {"description": summary, "content": {content_type: {"schema": schema}}}
    }
    if content_type == "application/json":
        answers["503"] = _describe_error("not ready")
    return {"get": {"summary": summary, "responses": answers}}


def _describe_predict(model: ServedModel, limits: ServerLimits) -> dict[str, Any]:
    signature = model.bundle.manifest.signature
    inputs = {field.name: field.schema() for field in signature.inputs}
    body = {"type": "object", "required": list(inputs), "properties": inputs}
    content: dict[str, Any] = {"application/json": {"schema": body}}
    form = {
        field.name: {"type": "string", "format": "binary"}
        if field.kind in ("sketch", "image")
        else {"type": "string"}
        for field in signature.inputs
    }
    content["multipart/form-data"] = {
        "schema": {"type": "object", "required": list(form), "properties": form}
    }
    if len(signature.inputs) == 1 and signature.inputs[0].kind in ("sketch", "image"):
        content |= {kind: {} for kind in ("image/png", "image/jpeg", "image/webp")}
    if len(signature.inputs) == 1 and signature.inputs[0].kind == "text":
        content["text/plain"] = {"schema": {"type": "string"}}
    answers: dict[str, Any] = {
        "200": {
            "description": "the answer",
            "content": {"application/json": {"schema": _describe_answer(model)}},
        }
    }
    answers |= {status: _describe_error(words) for status, words in PREDICT_ERRORS.items()}
    return {
        "operationId": f"predict_{model.name}",
        "summary": f"{model.bundle.manifest.title or model.name}: one prediction",
        "description": model.bundle.manifest.summary
        + f" Bodies of up to {limits.body_bytes:,} bytes are taken.",
        "requestBody": {"required": True, "content": content},
        "responses": answers,
    }


def _describe_answer(model: ServedModel) -> dict[str, Any]:
    fields = model.bundle.manifest.signature.outputs
    head: dict[str, Any] = {"model": {"const": model.name}, "version": {"type": "integer"}}
    if len(fields) == 1 and fields[0].kind == "label":
        schema = fields[0].schema()
        names = ["model", "version", *schema["required"]]
        return {"type": "object", "required": names, "properties": head | schema["properties"]}
    outputs = {
        "type": "object",
        "required": [field.name for field in fields],
        "properties": {field.name: field.schema() for field in fields},
    }
    return {
        "type": "object",
        "required": ["model", "version", "outputs"],
        "properties": head | {"outputs": outputs},
    }


def _describe_error(words: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": words, "content": {"application/json": {"schema": schema}}}
