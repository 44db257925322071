"""TensorFlow Serving's REST API, as its clients send and read it.

https://www.tensorflow.org/tfx/serving/api_rest: rows (`instances`) and columns (`inputs`), bytes as
`{"b64": ...}`, errors as `{"error": "..."}` with 400 where the input is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelpad.engine import TensorInfo
from modelpad.errors import InvalidInput, ModelpadError
from modelpad.fields import Field
from modelpad.server.backend import Backend
from modelpad.server.codec import Codec, Inputs, Outputs
from modelpad.server.errors import respond_words
from modelpad.server.http.json_stream import check_finite, is_large, respond_stream
from modelpad.server.http.messages import JSON, Request, Response, respond_json
from modelpad.server.json_schema import Schema, refer
from modelpad.server.model_table import ServedVersions
from modelpad.server.models import ServedModel
from modelpad.server.protocols.number_rows import parse_arrays
from modelpad.server.protocols.openai.models import describe_model as describe_openai
from modelpad.server.protocols.tensors import (
    as_json,
    check_batch,
    rows_first,
    split_items,
)
from modelpad.server.protocols.tfserving_inputs import (
    check_record,
    read_columns,
    read_examples,
    read_rows,
    read_signature,
)
from modelpad.server.routing import Names, Operation, Route, find_model, predict_with, show_model

PREFIXES = ("", "/versions/{version}", "/labels/{version}")
DTYPES = {
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    "float16": "DT_HALF",
    "int8": "DT_INT8",
    "int16": "DT_INT16",
    "int32": "DT_INT32",
    "int64": "DT_INT64",
    "uint8": "DT_UINT8",
    "uint16": "DT_UINT16",
    "uint32": "DT_UINT32",
    "uint64": "DT_UINT64",
    "bool": "DT_BOOL",
    "string": "DT_STRING",
}


def write_error(error: ModelpadError) -> Response:
    """`{"error": "..."}`."""
    return respond_words(error, error.words)


def read_predict(model: ServedModel, request: Request, body: bytes) -> Inputs[bool]:
    """The tensors of `:predict`; its option is whether they came as rows.

    Raises:
        InvalidInput: the body is not such a request, or does not fit the model.
        TooLarge: there are too many numbers.
    """
    record = check_record(parse_arrays(request, body))
    signature = read_signature(model, record.get("signature_name", ""))
    model = model.select(signature)
    names = [info.name for info in model.inputs]
    by_rows = "instances" in record
    if by_rows:
        arrays = read_rows(record["instances"], names)
    else:
        arrays = read_columns(record["inputs"], names)
    held_bytes = request.reservation.size
    tensors = check_batch(model, arrays)
    return Inputs(tensors=tensors, signature=signature, options=by_rows, held_bytes=held_bytes)


async def write_predict(model: ServedModel, inputs: Inputs[bool], outputs: Outputs) -> Response:
    """`predictions` for rows, `outputs` for columns; without names where there is one output."""
    names = model.default_outputs if inputs.options else model.own_outputs
    if inputs.options:
        outputs = rows_first(model, outputs)
    if is_large(outputs.values()):
        return await _stream_predict(names, inputs.options, outputs)
    if inputs.options:
        rows = split_items(outputs, names)
        return respond_json(
            {"predictions": [row[names[0]] for row in rows] if len(names) == 1 else rows}
        )
    columns = {name: as_json(outputs[name]) for name in names}
    return respond_json({"outputs": columns[names[0]] if len(names) == 1 else columns})


async def _stream_predict(names: list[str], by_rows: bool, outputs: Outputs) -> Response:
    for name in names:
        await check_finite(outputs[name])
    only = outputs[names[0]]
    if len(names) == 1:
        return respond_stream({"predictions" if by_rows else "outputs": only}, outputs)
    if by_rows:
        rows = ({name: outputs[name][row] for name in names} for row in range(len(only)))
        return respond_stream({"predictions": rows}, outputs)
    return respond_stream({"outputs": {name: outputs[name] for name in names}}, outputs)


def read_classify(model: ServedModel, request: Request, body: bytes) -> Inputs[Field]:
    """The tensors of `:classify`; its option is the label to show. Raises as `read_predict`."""
    return _read_examples(model, request, body, _find_output(model, "label", "classify"))


async def write_classify(model: ServedModel, inputs: Inputs[Field], outputs: Outputs) -> Response:
    """Each example's classes with their scores."""
    label = inputs.options
    classes: tuple[str, ...] = getattr(label, "classes", ())
    scores = model.typed.outputs.read_field(label.name, outputs)
    if is_large([scores]):
        await check_finite(scores)
        ranked = ([*zip(classes, row.tolist(), strict=True)] for row in scores)
        return respond_stream({"results": ranked}, outputs)
    rows = [list(zip(classes, row, strict=True)) for row in as_json(scores)]
    return respond_json({"results": rows})


def read_regress(model: ServedModel, request: Request, body: bytes) -> Inputs[Field]:
    """The tensors of `:regress`; its option is the score to show. Raises as `read_predict`."""
    return _read_examples(model, request, body, _find_output(model, "score", "regress"))


async def write_regress(model: ServedModel, inputs: Inputs[Field], outputs: Outputs) -> Response:
    """Each example's number."""
    typed = model.typed.outputs
    numbers = typed.read_field(inputs.options.name, outputs).reshape(-1)
    if is_large([numbers]):
        await check_finite(numbers)
        return respond_stream({"results": numbers}, outputs)
    return respond_json({"results": as_json(numbers)})


def _read_examples(
    model: ServedModel, request: Request, body: bytes, shown: Field
) -> Inputs[Field]:
    names = [info.name for info in model.inputs]
    tensors = check_batch(model, read_examples(request.parse_json(body), names))
    return Inputs(tensors=tensors, options=shown, held_bytes=request.reservation.size)


def _find_output(model: ServedModel, kind: str, call: str) -> Field:
    for field in model.bundle.manifest.signature.outputs:
        if field.kind == kind:
            return field
    raise InvalidInput(
        f"The model {model.name!r} has no {kind} to {call}.", hint="Use :predict instead."
    )


async def show_status(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /v1/models/{model}`, TensorFlow Serving's, KServe's and OpenAI's."""
    backend.host.require_ready()
    model = await find_model(backend, request, names) if "version" in names else None
    served = backend.host.require_models().find_versions(names["model"])
    return describe_status(served, model)


def describe_status(served: ServedVersions, model: ServedModel | None) -> Response:
    """The versions' states, or that of one; with KServe's `name` and `ready`, and OpenAI's keys."""
    created = served.default_model.bundle.manifest.created
    versions = sorted(served.versions) if model is None else [model.version]
    return respond_json(
        {
            **describe_openai(served.name, created),
            "name": served.name,
            "ready": True,
            "model_version_status": [
                {
                    "version": str(version),
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
                for version in versions
            ],
        }
    )


def show_metadata(model: ServedModel) -> Response:
    """`.../metadata`: the signatures."""
    signatures = {
        name: {
            "inputs": {info.name: _describe(info) for info in each.inputs},
            "outputs": {info.name: _describe(info) for info in each.outputs},
            "method_name": "tensorflow/serving/predict",
            "defaults": {},
        }
        for name, each in model.signatures.items()
    }
    return respond_json(
        {
            "model_spec": {
                "name": model.name,
                "signature_name": "",
                "version": str(model.version),
            },
            "metadata": {"signature_def": {"signature_def": signatures}},
        }
    )


def _describe(info: TensorInfo) -> dict[str, object]:
    return {
        "dtype": DTYPES[info.dtype],
        "tensor_shape": {
            "dim": [{"size": str(side), "name": ""} for side in info.shape],
            "unknown_rank": False,
        },
        "name": f"{info.name}:0",
    }


PREDICT = Codec(read_predict, write_predict)
CLASSIFY = Codec(read_classify, write_classify)
REGRESS = Codec(read_regress, write_regress)


def _json(name: str) -> dict[str, Schema]:
    return {JSON: refer(name)}


CALLS = {
    "predict": (
        predict_with(PREDICT),
        Operation("TensorFlow Serving: predict", _json("PredictResponse"), _json("PredictRequest")),
    ),
    "classify": (
        predict_with(CLASSIFY),
        Operation("TensorFlow Serving: classes with scores", _json("Classes"), _json("Examples")),
    ),
    "regress": (
        predict_with(REGRESS),
        Operation("TensorFlow Serving: numbers", _json("Numbers"), _json("Examples")),
    ),
}
STATUS = Operation("TensorFlow Serving: the versions' states", _json("Versions"))
METADATA = Operation("TensorFlow Serving: the signature", _json("Metadata"))


def _list_routes() -> Iterator[Route]:
    for prefix in PREFIXES:
        path = "/v1/models/{model}" + prefix
        for call, (handler, operation) in CALLS.items():
            yield Route("POST", f"{path}:{call}", handler, operation, write_error, predicts=True)
        yield Route("GET", path, show_status, STATUS, write_error)
        show = show_model(show_metadata)
        yield Route("GET", f"{path}/metadata", show, METADATA, write_error)


ROUTES = tuple(_list_routes())
