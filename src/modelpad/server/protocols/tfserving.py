"""TensorFlow Serving's REST API, as its clients send and read it.

https://www.tensorflow.org/tfx/serving/api_rest: rows (`instances`) and columns (`inputs`), bytes as
`{"b64": ...}`, errors as `{"error": "..."}` with 400 where the input is wrong.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from modelpad.errors import InvalidInput, ModelpadError
from modelpad.server.errors import respond_words
from modelpad.server.http.json_stream import check_finite, is_large, respond_stream
from modelpad.server.http.messages import Request, Response, respond_json
from modelpad.server.protocols.tensors import (
    MAX_SIDES,
    as_json,
    check_batch,
    read_numbers,
    split_items,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelpad.engine import TensorInfo
    from modelpad.server.models import ServedModel, ServedVersions

SIGNATURES = ("", "serving_default", "predict", "predict_images")
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
    """`{"error": "..."}`; what is wrong with the input is 400 here."""
    return respond_words(error, error.words)


async def predict(model: ServedModel, request: Request) -> Response:
    """`:predict`, by rows or by columns."""
    record = _read_record(request.parse_json(await request.body()))
    _check_signature(record)
    names = [info.name for info in model.inputs]
    outputs = [info.name for info in model.outputs]
    if "instances" in record:
        arrays = check_batch(model, _read_rows(record["instances"], names))
        answer = await model.batcher.run(arrays)
        if is_large(answer.values()):
            return await _stream_rows(answer, outputs)
        rows = split_items(answer, outputs)
        return respond_json(
            {"predictions": [row[outputs[0]] for row in rows] if len(outputs) == 1 else rows}
        )
    arrays = check_batch(model, _read_columns(record["inputs"], names))
    answer = await model.batcher.run(arrays)
    if is_large(answer.values()):
        return await _stream_columns(answer, outputs)
    columns = {name: as_json(answer[name]) for name in outputs}
    return respond_json({"outputs": columns[outputs[0]] if len(outputs) == 1 else columns})


async def _stream_rows(answer: dict[str, NDArray[Any]], outputs: list[str]) -> Response:
    for name in outputs:
        await check_finite(answer[name])
    only = answer[outputs[0]]
    rows = ({name: answer[name][row] for name in outputs} for row in range(len(only)))
    return respond_stream({"predictions": only if len(outputs) == 1 else rows}, answer)


async def _stream_columns(answer: dict[str, NDArray[Any]], outputs: list[str]) -> Response:
    for name in outputs:
        await check_finite(answer[name])
    columns = answer[outputs[0]] if len(outputs) == 1 else {name: answer[name] for name in outputs}
    return respond_stream({"outputs": columns}, answer)


async def classify(model: ServedModel, request: Request) -> Response:
    """`:classify`: each example's classes with their scores."""
    label = _find_output(model, "label", "classify")
    answer = await model.batcher.run(check_batch(model, await _read_examples(model, request)))
    classes = label.classes
    scores = answer[label.name]
    if is_large([scores]):
        await check_finite(scores)
        ranked = ([*zip(classes, row.tolist(), strict=True)] for row in scores)
        return respond_stream({"results": ranked}, answer)
    rows = [list(zip(classes, row, strict=True)) for row in as_json(scores)]
    return respond_json({"results": rows})


async def regress(model: ServedModel, request: Request) -> Response:
    """`:regress`: each example's number."""
    score = _find_output(model, "score", "regress")
    answer = await model.batcher.run(check_batch(model, await _read_examples(model, request)))
    numbers = answer[score.name].reshape(-1)
    if is_large([numbers]):
        await check_finite(numbers)
        return respond_stream({"results": numbers}, answer)
    return respond_json({"results": as_json(numbers)})


def show_status(line: ServedVersions, model: ServedModel | None) -> Response:
    """`GET /v1/models/{model}`: the versions' states; KServe's `name` and `ready` too."""
    versions = sorted(line.versions) if model is None else [model.version]
    return respond_json(
        {
            "name": line.name,
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
    """`.../metadata`: the signature."""
    signature = {
        "inputs": {info.name: _describe(info) for info in model.inputs},
        "outputs": {info.name: _describe(info) for info in model.outputs},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    return respond_json(
        {
            "model_spec": {
                "name": model.name,
                "signature_name": "",
                "version": str(model.version),
            },
            "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
        }
    )


def _describe(info: TensorInfo) -> dict[str, Any]:
    return {
        "dtype": DTYPES[info.dtype],
        "tensor_shape": {
            "dim": [{"size": str(side), "name": ""} for side in info.shape],
            "unknown_rank": False,
        },
        "name": f"{info.name}:0",
    }


def _read_record(record: Any) -> dict[str, Any]:
    if not isinstance(record, dict) or ("instances" in record) == ("inputs" in record):
        raise InvalidInput(
            "Request must have either 'instances' or 'inputs'.",
            hint='Send {"instances": [...]} with an item a row, or {"inputs": {...}} with columns.',
            expected="instances or inputs",
            got=", ".join(record) if isinstance(record, dict) else type(record).__name__,
        )
    return record


def _check_signature(record: dict[str, Any]) -> None:
    name = record.get("signature_name", "")
    if name not in SIGNATURES:
        raise InvalidInput(
            f'Serving signature name: "{name}" not found in signature def.',
            hint="Leave signature_name out, or send serving_default.",
            field="signature_name",
            expected="serving_default",
            got=str(name),
        )


def _read_rows(instances: Any, names: list[str]) -> dict[str, Any]:
    if not isinstance(instances, list) or not instances:
        raise InvalidInput(
            "'instances' must be a list of at least one item.",
            hint="Send an item a row.",
            field="instances",
            expected="a list",
            got=type(instances).__name__,
        )
    named = isinstance(instances[0], dict) and set(instances[0]) != {"b64"}
    if not named:
        if len(names) != 1:
            raise InvalidInput(
                f"Each instance must be an object with: {', '.join(names)}.",
                field="instances",
                expected="an object",
                got=type(instances[0]).__name__,
            )
        return {names[0]: _read_value(instances, names[0])}
    keys = set(instances[0])
    if any(not isinstance(row, dict) or set(row) != keys for row in instances):
        raise InvalidInput(
            "Every instance must have the same inputs.",
            field="instances",
            expected=", ".join(sorted(keys)),
            got="objects with different keys",
        )
    return {key: _read_value([row[key] for row in instances], key) for key in instances[0]}


def _read_columns(inputs: Any, names: list[str]) -> dict[str, Any]:
    if isinstance(inputs, dict) and set(inputs) != {"b64"}:
        return {name: _read_value(value, name) for name, value in inputs.items()}
    if len(names) != 1:
        raise InvalidInput(
            f"'inputs' must be an object with: {', '.join(names)}.",
            field="inputs",
            expected="an object",
            got=type(inputs).__name__,
        )
    return {names[0]: _read_value(inputs, names[0])}


def _read_value(value: Any, name: str) -> Any:
    return read_numbers(_unpack_bytes(value, name), name)


def _unpack_bytes(value: Any, name: str, depth: int = 0) -> Any:
    if isinstance(value, list):
        if depth > MAX_SIDES:
            return value  # no tensor: it is told where the numbers are read
        if value and isinstance(value[0], int | float):
            return value  # numbers: no need to look at each
        return [_unpack_bytes(one, name, depth + 1) for one in value]
    if isinstance(value, dict) and set(value) == {"b64"}:
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise InvalidInput(
                f"The base64 of {name!r} cannot be read: {error}.",
                field=name,
                expected="base64",
                got=str(value["b64"])[:40],
            ) from error
    return value


async def _read_examples(model: ServedModel, request: Request) -> dict[str, Any]:
    record = request.parse_json(await request.body())
    examples = record.get("examples") if isinstance(record, dict) else None
    if not isinstance(examples, list) or not examples:
        raise InvalidInput(
            "Request must have 'examples', a list.",
            hint='Send {"examples": [{"input": ...}, ...]}.',
            field="examples",
            expected="a list of objects",
            got=type(examples).__name__,
        )
    shared = record.get("context") or {}
    if not isinstance(shared, dict):
        raise InvalidInput(
            "'context' must be an object with inputs that all examples share.",
            field="context",
            expected="an object",
            got=type(shared).__name__,
        )
    rows = [shared | row if isinstance(row, dict) else row for row in examples]
    return _read_rows(rows, [info.name for info in model.inputs])


def _find_output(model: ServedModel, kind: str, call: str) -> Any:
    for field in model.bundle.manifest.signature.outputs:
        if field.kind == kind:
            return field
    raise InvalidInput(
        f"The model {model.name!r} has no {kind} to {call}.", hint="Use :predict instead."
    )
