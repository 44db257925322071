"""Converts Python values to requests, and responses to Python values."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TypeAlias

from modelpad.fields.sound import is_wav
from modelpad.foreign_json import Json, list_at, object_at, optional_integer_at, text_at
from modelpad.prediction import Prediction, decode_output
from modelpad.python_values import InputKind, Listable, read_inputs, read_value

Model: TypeAlias = dict[str, Json]
"""A model's entry in `GET /models`: its name, version, fields and card."""


def encode_inputs(model: Model, value: object, named: Mapping[str, object]) -> dict[str, object]:
    """The JSON of a request; `value` may also be a dictionary of all inputs.

    Raises `InvalidInput` as `read_inputs`.
    """
    fields = {
        name: InputKind(text_at(field, "kind"), field.get("default") is not None)
        for name, field in _fields(model, "inputs").items()
    }
    values = read_inputs(text_at(model, "name"), fields, value, named)
    return {name: _encode(each) for name, each in values.items()}


def encode_value(value: object, kind: str) -> object:
    """A file as a `data:` URL, an array as nested lists, NaN as null, the rest unchanged."""
    return _encode(read_value(value, kind))


def _encode(value: object) -> object:
    if isinstance(value, bytes):
        return _as_url(value)
    return value.tolist() if isinstance(value, Listable) else value


def knows_outputs(model: Model, record: dict[str, Json]) -> bool:
    """Whether `model` has all outputs of a response. If not, its entry is outdated."""
    return "outputs" not in record or {*object_at(record, "outputs")} <= {
        *_fields(model, "outputs")
    }


def decode_prediction(model: Model, record: dict[str, Json]) -> Prediction:
    """The prediction in a response's JSON."""
    name = text_at(record, "model") if "model" in record else text_at(model, "name")
    version = optional_integer_at(record, "version") or optional_integer_at(model, "version") or 0
    fields = _fields(model, "outputs")
    if "outputs" not in record:
        label = {key: value for key, value in record.items() if key not in ("model", "version")}
        return Prediction(name, version, {next(iter(fields)): label})
    outputs = object_at(record, "outputs")
    return Prediction(
        name,
        version,
        {key: _decode(fields[key], v) if key in fields else v for key, v in outputs.items()},
    )


def _decode(field: dict[str, Json], value: Json) -> object:
    dtype = text_at(field, "dtype") if "dtype" in field else ""
    return decode_output(text_at(field, "kind"), dtype, value)


def _fields(model: Model, side: str) -> dict[str, dict[str, Json]]:
    fields = [field for field in list_at(model, side) if isinstance(field, dict)]
    return {text_at(field, "name"): field for field in fields}


def _as_url(body: bytes) -> str:
    kind = "image/jpeg" if body[:2] == b"\xff\xd8" else "image/png"
    kind = "audio/wav" if is_wav(body) else kind
    return f"data:{kind};base64,{base64.b64encode(body).decode('ascii')}"
