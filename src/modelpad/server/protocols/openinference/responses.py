"""Writes inference responses: JSON, with binary tensors behind it where they are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from modelpad.errors import InvalidInput, ModelNotFound, ModelpadError
from modelpad.foreign_json import Json
from modelpad.server.codec import Inputs, Outputs
from modelpad.server.errors import respond_words
from modelpad.server.http.json_stream import (
    PIECE,
    check_finite,
    is_large,
    respond_stream,
    stream,
    take_turns,
)
from modelpad.server.http.messages import Response, respond_json
from modelpad.server.models import ServedModel
from modelpad.server.protocols.openinference.datatypes import (
    NUMERIC,
    classify_output,
    is_batched,
    pack_tensor,
    wrong_field,
)
from modelpad.server.protocols.openinference.requests import HEADER_LENGTH, OutputOptions
from modelpad.server.protocols.tensors import as_json

OCTETS = "application/octet-stream"
PACKED = 256 * 1024  # numbers packed at once
MAX_JOINED = 4 * 1024 * 1024  # bytes of binary tensors sent as one body


def write_error(error: ModelpadError) -> Response:
    """`{"error": "..."}`, with Triton's words for an unknown model."""
    unknown = "Request for unknown model: " if isinstance(error, ModelNotFound) else ""
    return respond_words(error, unknown + error.words)


async def write(model: ServedModel, inputs: Inputs[OutputOptions], outputs: Outputs) -> Response:
    """The outputs that the client asked for, binary where it asked for that.

    Raises `InvalidInput` for unknown outputs, `ModelFailed` for what JSON cannot carry.
    """
    options = inputs.options
    wanted: Sequence[Mapping[str, Json]] = options.outputs or [
        {"name": name} for name in model.default_outputs
    ]
    large = is_large(outputs.values())
    heads: list[dict[str, object]] = []
    tails: list[bytes] = []
    for each in wanted:
        head, packed = await _write_output(model, each, outputs, options.binary, large)
        heads.append(head)
        tails += packed
    record: dict[str, object] = {
        "model_name": model.name,
        "model_version": str(model.version),
        "outputs": heads,
    }
    if options.id:
        record["id"] = options.id
    if large and not tails:
        return respond_stream(record, outputs)
    if large:
        return await _respond_binary(record, tails, outputs)
    response = respond_json(record)
    if not tails:
        return response
    headers = {HEADER_LENGTH: str(len(response.body))}
    return Response(response.body + b"".join(tails), OCTETS, 200, headers)


async def _write_output(
    model: ServedModel, wanted: Mapping[str, Json], outputs: Outputs, binary: bool, large: bool
) -> tuple[dict[str, object], list[bytes]]:
    """An output's JSON, and its bytes where it is binary."""
    name = str(wanted.get("name"))
    if name not in outputs:
        raise InvalidInput(
            f"unexpected inference output {name!r} for model {model.name!r}.",
            hint=f"Its outputs: {', '.join(outputs)}.",
            field="outputs",
            expected=", ".join(outputs),
            got=name,
        )
    options = wanted.get("parameters") or {}
    assert isinstance(options, dict)  # checked when the request was read
    array = outputs[name]
    if options.get("classification"):
        max_classes = _read_count(options["classification"])
        array = await _classify_rows(model, name, array, max_classes)
    head: dict[str, object] = {
        "name": name,
        "datatype": "BYTES" if array.dtype.kind in "OSU" else NUMERIC[array.dtype],
        "shape": list(array.shape),
    }
    packed: list[bytes] = []
    if options.get("binary_data", binary):
        packed = await _pack_rows(array) if large else [pack_tensor(array)]
        head["parameters"] = {"binary_data_size": sum(len(part) for part in packed)}
    elif large:
        flat = array.reshape(-1)
        head["data"] = flat
        await check_finite(flat)
    else:
        head["data"] = as_json(array.reshape(-1))
    return head, packed


def _read_count(value: Json) -> int:
    if not isinstance(value, int) or value < 0:
        raise wrong_field("classification", "how many classes are wanted", value)
    return int(value)


async def _respond_binary(
    record: dict[str, object], tails: list[bytes], outputs: Outputs
) -> Response:
    head = b"".join([part async for part in stream(record)])
    headers = {HEADER_LENGTH: str(len(head))}
    if sum(map(len, tails)) <= MAX_JOINED:
        return Response(b"".join([head, *tails]), OCTETS, 200, headers)
    parts = take_turns(iter([head, *tails]))
    return Response(content_type=OCTETS, headers=headers, parts=parts, outputs=outputs)


async def _pack_rows(array: NDArray[np.generic]) -> list[bytes]:
    """`pack_tensor` of some elements at a time, yielding to other requests between."""
    flat = array.reshape(-1)
    step = PIECE if array.dtype.kind in "OSU" else PACKED
    parts = []
    for start in range(0, len(flat), step):
        parts.append(pack_tensor(flat[start : start + step]))
        await asyncio.sleep(0)
    return parts


async def _classify_rows(
    model: ServedModel, name: str, array: NDArray[np.generic], max_classes: int
) -> NDArray[np.object_]:
    """`classify_output` of some rows at a time, yielding to other requests between."""
    step = max(1, PIECE * len(array) // max(1, array.size)) if array.ndim else 1
    if not is_batched(model) or len(array) <= step:
        return classify_output(model, name, array, max_classes)
    parts = []
    for start in range(0, len(array), step):
        parts.append(classify_output(model, name, array[start : start + step], max_classes))
        await asyncio.sleep(0)
    return np.concatenate(parts)
