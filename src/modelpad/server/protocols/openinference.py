"""The Open Inference Protocol, version 2, over HTTP, with binary tensors, as its clients speak it.

https://github.com/kserve/open-inference-protocol, and Triton's extensions that clients rely on:
binary tensor data, classification, model configuration and statistics.
"""

from __future__ import annotations

import asyncio
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelpad import __version__
from modelpad.errors import InvalidInput, ModelNotFound, ModelpadError
from modelpad.server.errors import respond_words
from modelpad.server.http.json_stream import (
    PIECE,
    check_finite,
    is_large,
    respond_stream,
    stream,
    take_turns,
)
from modelpad.server.http.messages import Request, Response, parse_json, read_count, respond_json
from modelpad.server.protocols.tensors import (
    as_json,
    check_batch,
    count_elements,
    read_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelpad.engine import TensorInfo
    from modelpad.server.models import ServedModel, ServedVersions
    from modelpad.server.observability.metrics import ModelCounts

DATATYPES = {
    "bool": "BOOL",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
DTYPES = {name: dtype for dtype, name in DATATYPES.items()}
HEADER_LENGTH = "inference-header-content-length"
OCTETS = "application/octet-stream"
PACKED = 256 * 1024  # numbers that are packed at once
MAX_JOINED = 4 * 1024 * 1024  # bytes of binary tensors that are sent as a whole
MAX_TIMEOUT = 2**63  # microseconds: what Triton's field holds
EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "generate",
    "model_configuration",
    "statistics",
]


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request as it was understood: tensors by name, and what is wanted back."""

    arrays: Mapping[str, NDArray[Any]]
    id: str = ""
    outputs: Sequence[Mapping[str, Any]] = ()
    binary_outputs: bool = False
    timeout_s: float | None = None


def write_error(error: ModelpadError) -> Response:
    """`{"error": "..."}`, with Triton's words for an unknown model."""
    unknown = "Request for unknown model: " if isinstance(error, ModelNotFound) else ""
    return respond_words(error, unknown + error.words)


def list_extensions(*, admin: bool) -> list[str]:
    """What is understood beyond the protocol; the repository where admins are."""
    return sorted([*EXTENSIONS, *(["model_repository"] if admin else [])])


def describe_server(*, admin: bool) -> Response:
    """`GET /v2`."""
    told = {"name": "modelpad", "version": __version__}
    return respond_json(told | {"extensions": list_extensions(admin=admin)})


def describe_model(line: ServedVersions, model: ServedModel) -> Response:
    """`GET /v2/models/{model}`: its tensors."""
    return respond_json(
        {
            "name": model.name,
            "versions": [str(version) for version in sorted(line.versions)],
            "platform": "onnxruntime_onnx",
            "inputs": [_describe(info) for info in model.inputs],
            "outputs": [_describe(info) for info in model.outputs],
        }
    )


def show_config(model: ServedModel) -> Response:
    """`.../config`: as `perf_analyzer` reads it; the batch is not among the `dims`."""

    def list_tensors(infos: Sequence[TensorInfo]) -> list[dict[str, Any]]:
        return [
            {
                "name": info.name,
                "data_type": "TYPE_STRING"
                if info.dtype == "string"
                else f"TYPE_{DATATYPES[info.dtype]}",
                "dims": list(info.shape[1:]) or [1],
            }
            for info in infos
        ]

    return respond_json(
        {
            "name": model.name,
            "platform": "onnxruntime_onnx",
            "backend": "onnxruntime",
            "version_policy": {"latest": {"num_versions": 1}},
            "max_batch_size": max(1, model.batcher.batches.max_batch_size),
            "input": list_tensors(model.inputs),
            "output": list_tensors(model.outputs),
        }
    )


def show_stats(model: ServedModel, counts: ModelCounts) -> Response:
    """`.../stats`: counts and nanoseconds since the start."""

    def duration(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": int(seconds * 1e9)}

    done = counts.requests - counts.failures
    stats = {
        "name": model.name,
        "version": str(model.version),
        "last_inference": int(counts.last * 1000),
        "inference_count": counts.items,
        "execution_count": counts.batches,
        "inference_stats": {
            "success": duration(done, counts.seconds),
            "fail": duration(counts.failures, 0.0),
            "queue": duration(counts.requests, counts.queue_s),
            "compute_input": duration(counts.batches, counts.prepare_s),
            "compute_infer": duration(counts.batches, counts.inference_s),
            "compute_output": duration(counts.batches, counts.encode_s),
        },
        "batch_stats": [],
    }
    return respond_json({"model_stats": [stats]})


async def infer(model: ServedModel, request: Request) -> Response:
    """`POST .../infer`, in JSON or with binary tensors."""
    asked = read_request(model, request, await request.body())
    arrays = check_batch(model, asked.arrays)
    outputs = await model.batcher.run(arrays, timeout_s=asked.timeout_s)
    return await write_answer(model, asked, outputs)


def read_request(model: ServedModel, request: Request, body: bytes) -> InferRequest:
    """The request in a body; a header field says where its JSON ends and binary tensors begin.

    Raises `InvalidInput` when it is none.
    """
    header_length = request.headers.get(HEADER_LENGTH)
    if header_length is None:
        return _read_head(request.parse_json(body), b"")
    size = read_count(header_length)
    if size is None or size > len(body):
        given = header_length[:60]
        raise InvalidInput(
            f"Inference-Header-Content-Length is {given}, the body has {len(body)} bytes.",
            field=HEADER_LENGTH,
            expected="the length of the JSON head",
            got=given,
        )
    if size == 0:
        return _read_raw(model, body)
    return _read_head(request.parse_json(body[:size]), memoryview(body)[size:])


async def write_answer(
    model: ServedModel, asked: InferRequest, outputs: Mapping[str, NDArray[Any]]
) -> Response:
    """The answer with the outputs that were asked for, binary where they were asked for so.

    Raises `InvalidInput` for outputs that there are not, `ModelFailed` for what JSON cannot carry.
    """
    wanted = asked.outputs or [{"name": info.name} for info in model.outputs]
    large = is_large(outputs.values())
    heads: list[dict[str, Any]] = []
    tails: list[bytes] = []
    for each in wanted:
        name = str(each.get("name"))
        if name not in outputs:
            raise InvalidInput(
                f"unexpected inference output {name!r} for model {model.name!r}.",
                hint=f"Its outputs: {', '.join(outputs)}.",
                field="outputs",
                expected=", ".join(outputs),
                got=str(name),
            )
        options = each.get("parameters") or {}
        array = outputs[name]
        if options.get("classification"):
            most = _read_count(options["classification"])
            array = await _classify_rows(model, name, array, most)
        head: dict[str, Any] = {
            "name": name,
            "datatype": "BYTES" if array.dtype.kind in "OSU" else DATATYPES[str(array.dtype)],
            "shape": list(array.shape),
        }
        if options.get("binary_data", asked.binary_outputs):
            packed = await _pack_rows(array) if large else [pack_tensor(array)]
            head["parameters"] = {"binary_data_size": sum(len(part) for part in packed)}
            tails += packed
        elif large:
            head["data"] = array.reshape(-1)
            await check_finite(head["data"])
        else:
            head["data"] = as_json(array.reshape(-1))
        heads.append(head)
    record: dict[str, Any] = {
        "model_name": model.name,
        "model_version": str(model.version),
        "outputs": heads,
    }
    if asked.id:
        record["id"] = asked.id
    if large and not tails:
        return respond_stream(record, outputs)
    if large:
        return await _respond_binary(record, tails, outputs)
    answer = respond_json(record)
    if not tails:
        return answer
    headers = {HEADER_LENGTH: str(len(answer.body))}
    return Response(answer.body + b"".join(tails), OCTETS, 200, headers)


async def _respond_binary(
    record: dict[str, Any], tails: list[bytes], outputs: Mapping[str, NDArray[Any]]
) -> Response:
    head = b"".join([part async for part in stream(record)])
    headers = {HEADER_LENGTH: str(len(head))}
    if sum(map(len, tails)) <= MAX_JOINED:
        return Response(b"".join([head, *tails]), OCTETS, 200, headers)
    parts = take_turns(iter([head, *tails]))
    return Response(content_type=OCTETS, headers=headers, parts=parts, outputs=outputs)


async def _pack_rows(array: NDArray[Any]) -> list[bytes]:
    """`pack_tensor` of some elements at a time, others having their turn between."""
    flat = array.reshape(-1)
    step = PIECE if array.dtype.kind in "OSU" else PACKED
    parts = []
    for start in range(0, len(flat), step):
        parts.append(pack_tensor(flat[start : start + step]))
        await asyncio.sleep(0)
    return parts


async def _classify_rows(
    model: ServedModel, name: str, array: NDArray[Any], most: int
) -> NDArray[np.object_]:
    """`classify` of some rows at a time, others having their turn between."""
    step = max(1, PIECE * len(array) // max(1, array.size))
    if len(array) <= step:
        return classify(model, name, array, most)
    parts = []
    for start in range(0, len(array), step):
        parts.append(classify(model, name, array[start : start + step], most))
        await asyncio.sleep(0)
    return np.concatenate(parts)


def read_answer(body: bytes, head_bytes: int) -> dict[str, Any]:
    """What `write_answer` wrote with binary tensors, as it would be without them."""
    record: dict[str, Any] = parse_json(body[:head_bytes])
    place = head_bytes
    for each in record["outputs"]:
        size = each.pop("parameters", {}).get("binary_data_size")
        if size is not None:
            data = body[place : place + size]
            array = unpack_tensor(data, each["datatype"], each["shape"], each["name"])
            each["data"] = array.reshape(-1).tolist()
            place += size
    return record


def classify(model: ServedModel, name: str, array: NDArray[Any], most: int) -> NDArray[np.object_]:
    """The best classes of each item as Triton writes them: `score:index:label`.

    Raises `InvalidInput` for text, which has no best.
    """
    if array.dtype.kind in "OSU":
        raise _wrong("classification", f"for numbers, which {name!r} are not", "text")
    fields = {field.name: field for field in model.bundle.manifest.signature.outputs}
    classes = getattr(fields[name], "classes", ())
    rows = []
    for row in array.reshape(len(array), -1).astype(np.float64):
        best = np.argsort(-row, kind="stable")[:most]
        rows.append(
            [
                f"{row[index]:f}:{index}" + (f":{classes[index]}" if classes else "")
                for index in best
            ]
        )
    return np.array(rows, dtype=object)


def pack_tensor(array: NDArray[Any]) -> bytes:
    """Little-endian, row by row; text with its length before it."""
    if array.dtype.kind not in "OSU":
        ordered = np.ascontiguousarray(array)
        return ordered.astype(ordered.dtype.newbyteorder("<"), copy=False).tobytes()
    parts = []
    for one in array.reshape(-1).tolist():
        text = one if isinstance(one, bytes) else str(one).encode("utf-8")
        parts += [struct.pack("<I", len(text)), text]
    return b"".join(parts)


def unpack_tensor(
    data: bytes | memoryview, datatype: str, shape: Sequence[int], name: str
) -> NDArray[Any]:
    """The array in `data`, not copied where it is made of numbers. Raises `InvalidInput`."""
    count = count_elements(shape, name)
    if datatype == "BYTES":
        return np.array(_unpack_bytes(data, count, name), dtype=object).reshape(shape)
    dtype = np.dtype(DTYPES[datatype]).newbyteorder("<")
    if len(data) != count * dtype.itemsize:
        raise InvalidInput(
            f"unexpected size of input {name!r}: {len(data)} bytes, expected"
            f" {count * dtype.itemsize} for {datatype} {list(shape)}",
            field=name,
            expected=f"{count * dtype.itemsize} bytes",
            got=f"{len(data)} bytes",
        )
    return np.frombuffer(data, dtype).reshape(shape)


def _unpack_bytes(data: bytes | memoryview, count: int, name: str) -> list[bytes]:
    found: list[bytes] = []
    place = 0
    while place + 4 <= len(data) and len(found) < count:
        (size,) = struct.unpack_from("<I", data, place)
        place += 4
        if place + size > len(data):
            break
        found.append(bytes(data[place : place + size]))
        place += size
    if len(found) != count or place != len(data):
        raise InvalidInput(
            f"the BYTES of input {name!r} do not hold {count} elements, each with its length",
            field=name,
            expected=f"{count} elements",
            got=f"{len(found)} whole ones in {len(data)} bytes",
        )
    return found


def _read_head(record: Any, tail: bytes | memoryview) -> InferRequest:
    if not isinstance(record, dict) or not isinstance(record.get("inputs"), list):
        raise _wrong("inputs", "a list of tensors", record)
    arrays: dict[str, NDArray[Any]] = {}
    place = 0
    for each in record["inputs"]:
        name, shape = _read_tensor_head(each)
        size = _read_parameters(each).get("binary_data_size")
        if name in arrays:
            raise _wrong("inputs", "each input once", f"{name!r} twice")
        if size is not None:
            if not isinstance(size, int) or size < 0 or place + size > len(tail):
                raise _wrong("binary_data_size", f"at most the {len(tail)} bytes that came", size)
            arrays[name] = unpack_tensor(tail[place : place + size], each["datatype"], shape, name)
            place += size
        elif "data" in each:
            arrays[name] = _read_data(each["data"], each["datatype"], shape, name)
        else:
            raise _wrong("data", f"the data of {name!r}", "none")
    if place != len(tail):
        raise _wrong("binary_data_size", f"the {len(tail)} bytes that came", f"{place} in all")
    outputs = record.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
        raise _wrong("outputs", "a list of objects", outputs)
    for each in outputs:
        _read_parameters(each)
    options = _read_parameters(record)
    timeout = options.get("timeout")
    return InferRequest(
        arrays,
        "" if record.get("id") is None else str(record["id"]),
        outputs,
        bool(options.get("binary_data_output")),
        min(timeout, MAX_TIMEOUT) / 1e6 if isinstance(timeout, int) and timeout > 0 else None,
    )


def _read_parameters(record: Mapping[str, Any]) -> Mapping[str, Any]:
    options = record.get("parameters") or {}
    if not isinstance(options, dict):
        raise _wrong("parameters", "an object", options)
    return options


def _read_count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise _wrong("classification", "how many classes are wanted", value)
    return int(value)


def _read_tensor_head(each: Any) -> tuple[str, list[int]]:
    if not isinstance(each, dict) or not isinstance(each.get("name"), str):
        raise _wrong("name", "each input's name", each)
    name, shape, datatype = each["name"], each.get("shape"), each.get("datatype")
    if not isinstance(shape, list) or not all(
        isinstance(side, int) and not isinstance(side, bool) and side >= 0 for side in shape
    ):
        raise _wrong("shape", f"the shape of {name!r}, a list of whole numbers", shape)
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise _wrong("datatype", f"one of {', '.join(DTYPES)}", datatype)
    return name, shape


def _read_data(data: Any, datatype: str, shape: list[int], name: str) -> NDArray[Any]:
    if not isinstance(data, list):
        raise _wrong("data", f"a list of {name!r}'s elements", data)
    array = read_numbers(data, name)
    if datatype == "BYTES" and array.dtype.kind not in "OSU":
        raise _wrong("data", f"text for {name!r}", "numbers")
    count = count_elements(shape, name)
    if array.size != count:
        raise _wrong("data", f"{count} elements for {name!r} of shape {shape}", f"{array.size}")
    array = array.reshape(shape)
    if datatype == "BYTES" or array.dtype.kind not in "biuf":
        if datatype != "BYTES":
            raise _wrong("data", f"numbers for {name!r}", "text")
        return array
    wanted = np.dtype(DTYPES[datatype])
    if array.dtype.kind == "f" and wanted.kind != "f":
        raise _wrong("data", f"{datatype} for {name!r}", "fractions")
    with np.errstate(over="ignore"):
        ready = array.astype(wanted, copy=False)
    held = np.isfinite(ready).all() if wanted.kind == "f" else np.array_equal(ready, array)
    if not held:
        raise _wrong("data", f"numbers within {datatype} for {name!r}", "others")
    return ready


def _read_raw(model: ServedModel, body: bytes) -> InferRequest:
    if len(model.inputs) != 1:
        raise _wrong("inputs", "a JSON head, as the model has several inputs", "a raw body")
    info = model.inputs[0]
    if info.dtype == "string":
        return InferRequest({info.name: np.array([body], dtype=object)}, binary_outputs=True)
    free = [axis for axis, side in enumerate(info.shape[1:]) if side == -1]
    item = math.prod(side for side in info.shape[1:] if side != -1)
    size = item * np.dtype(info.dtype).itemsize
    if free or not body or len(body) % size:
        raise _wrong("inputs", f"a multiple of {size} bytes", f"{len(body)} bytes")
    shape = [len(body) // size, *info.shape[1:]]
    array = unpack_tensor(body, DATATYPES[info.dtype], shape, info.name)
    return InferRequest({info.name: array}, binary_outputs=True)


def _describe(info: TensorInfo) -> dict[str, Any]:
    return {"name": info.name, "datatype": DATATYPES[info.dtype], "shape": list(info.shape)}


def _wrong(field: str, expected: str, got: object) -> InvalidInput:
    return InvalidInput(
        f"The request's {field!r} should be {expected}, not {str(got)[:60]}.",
        hint="See: https://github.com/kserve/open-inference-protocol",
        field=field,
        expected=expected,
        got=str(got)[:60],
    )
