"""Reads inference requests: JSON, with binary tensors behind it, or one raw tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeGuard

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelpad.errors import InvalidInput
from modelpad.foreign_json import Json
from modelpad.server.codec import Inputs
from modelpad.server.http.messages import Request, read_count
from modelpad.server.models import ServedModel
from modelpad.server.protocols.openinference.datatypes import (
    DTYPES,
    bind_only_input,
    check_datatype,
    check_parameters,
    estimate_elements,
    name_datatype,
    unpack_tensor,
    wrong_field,
)
from modelpad.server.protocols.tensors import check_batch, count_elements, read_numbers

HEADER_LENGTH = "inference-header-content-length"
MAX_TIMEOUT = 2**63  # microseconds: what Triton's field holds


class OutputOptions(msgspec.Struct, frozen=True):
    """What a client wants back: `outputs` as it named them, none for all; its own `id`."""

    outputs: Sequence[Mapping[str, Json]] = ()
    binary: bool = False
    id: str = ""


class InferRequest(msgspec.Struct, frozen=True):
    """A parsed request; its tensors are not checked against the model yet."""

    arrays: Mapping[str, NDArray[np.generic]]
    options: OutputOptions
    timeout_s: float | None = None


def read(model: ServedModel, request: Request, body: bytes) -> Inputs[OutputOptions]:
    """The tensors of a request.

    Raises:
        InvalidInput: it cannot be parsed, or does not fit the model.
        TooLarge: there are too many numbers, or they need more memory than there may be.
        Overloaded: they need more memory than is free now.
        Unsupported: a tensor is in shared memory, or is BF16.
    """
    parsed = parse_request(model, request, body)
    return Inputs(
        tensors=check_batch(model, bind_only_input(model, parsed.arrays)),
        timeout_s=parsed.timeout_s,
        options=parsed.options,
        held_bytes=request.reservation.size,
    )


def parse_request(model: ServedModel, request: Request, body: bytes) -> InferRequest:
    """The request in a body; a header says where its JSON ends and binary tensors begin.

    Raises `InvalidInput` when it cannot be parsed, and as `Reservation.grow`.
    """
    header_length = request.headers.get(HEADER_LENGTH)
    if header_length is None:
        return _read_head(request, body, b"")
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
    return _read_head(request, body[:size], memoryview(body)[size:])


def _read_head(request: Request, head: bytes, tail: bytes | memoryview) -> InferRequest:
    record = request.parse_json(head)
    given = record.get("inputs") if isinstance(record, dict) else None
    if not isinstance(record, dict) or not isinstance(given, list):
        raise wrong_field("inputs", "a list of tensors", record)
    arrays: dict[str, NDArray[np.generic]] = {}
    place = 0
    for tensor in given:
        each, name, datatype, shape = _read_tensor_head(tensor)
        parameters = _read_parameters(each)
        check_parameters(parameters, name)
        size = parameters.get("binary_data_size")
        if name in arrays:
            raise wrong_field("inputs", "each input once", f"{name!r} twice")
        if size is not None:
            if not isinstance(size, int) or size < 0 or place + size > len(tail):
                raise wrong_field(
                    "binary_data_size", f"at most the {len(tail)} bytes that came", size
                )
            if datatype == "BYTES":
                request.reservation.grow(estimate_elements(size, shape))
            arrays[name] = unpack_tensor(tail[place : place + size], datatype, shape, name)
            place += size
        elif "data" in each:
            arrays[name] = _read_data(each["data"], datatype, shape, name)
        else:
            raise wrong_field("data", f"the data of {name!r}", "none")
    if place != len(tail):
        raise wrong_field("binary_data_size", f"the {len(tail)} bytes that came", f"{place} in all")
    outputs = record.get("outputs") or []
    named = (
        [each for each in outputs if isinstance(each, dict)] if isinstance(outputs, list) else []
    )
    if not isinstance(outputs, list) or len(named) != len(outputs):
        raise wrong_field("outputs", "a list of objects", outputs)
    for each in named:
        check_parameters(_read_parameters(each), str(each.get("name")))
    options = _read_parameters(record)
    timeout = options.get("timeout")
    wanted = OutputOptions(
        named,
        bool(options.get("binary_data_output")),
        "" if record.get("id") is None else str(record["id"]),
    )
    timeout_s = (
        min(timeout, MAX_TIMEOUT) / 1e6 if isinstance(timeout, int) and timeout > 0 else None
    )
    return InferRequest(arrays, wanted, timeout_s)


def _read_parameters(record: Mapping[str, Json]) -> Mapping[str, Json]:
    options = record.get("parameters") or {}
    if not isinstance(options, dict):
        raise wrong_field("parameters", "an object", options)
    return options


def _read_tensor_head(each: Json) -> tuple[dict[str, Json], str, str, list[int]]:
    """A tensor, its name, datatype and shape."""
    name = each.get("name") if isinstance(each, dict) else None
    if not isinstance(each, dict) or not isinstance(name, str):
        raise wrong_field("name", "each input's name", each)
    shape, datatype = each.get("shape"), each.get("datatype")
    sides = [side for side in (shape if isinstance(shape, list) else []) if _is_side(side)]
    if not isinstance(shape, list) or len(sides) != len(shape):
        raise wrong_field("shape", f"the shape of {name!r}, a list of whole numbers", shape)
    check_datatype(str(datatype), name)
    return each, name, str(datatype), sides


def _is_side(value: Json) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read_data(data: Json, datatype: str, shape: list[int], name: str) -> NDArray[np.generic]:
    if not isinstance(data, list):
        raise wrong_field("data", f"a list of {name!r}'s elements", data)
    array = read_numbers(data, name)
    if datatype == "BYTES" and array.dtype.kind not in "OSU":
        raise wrong_field("data", f"text for {name!r}", "numbers")
    count = count_elements(shape, name)
    if array.size != count:
        raise wrong_field(
            "data", f"{count} elements for {name!r} of shape {shape}", f"{array.size}"
        )
    array = array.reshape(shape)
    if datatype == "BYTES" or array.dtype.kind not in "biuf":
        if datatype != "BYTES":
            raise wrong_field("data", f"numbers for {name!r}", "text")
        return array
    wanted = np.dtype(DTYPES[datatype])
    if array.dtype.kind == "f" and wanted.kind != "f":
        raise wrong_field("data", f"{datatype} for {name!r}", "fractions")
    with np.errstate(over="ignore"):
        ready = array.astype(wanted, copy=False)
    held = np.isfinite(ready).all() if wanted.kind == "f" else np.array_equal(ready, array)
    if not held:
        raise wrong_field("data", f"numbers within {datatype} for {name!r}", "others")
    return ready


def _read_raw(model: ServedModel, body: bytes) -> InferRequest:
    if len(model.inputs) != 1:
        raise wrong_field("inputs", "a JSON head, as the model has several inputs", "a raw body")
    info = model.inputs[0]
    if info.dtype == "string":
        one = np.array([body], dtype=object).reshape([1] * len(info.shape))
        return InferRequest({info.name: one}, OutputOptions(binary=True))
    datatype = name_datatype(info.dtype)
    check_datatype(datatype, info.name)
    size = math.prod(side for side in info.shape if side != -1) * np.dtype(info.dtype).itemsize
    free = info.shape.count(-1)
    fits = len(body) == size if free == 0 else free == 1 and size and not len(body) % size
    if not fits or not body:
        expected = f"{size} bytes" if free == 0 else f"a multiple of {size} bytes"
        raise wrong_field("inputs", expected if free < 2 else "a JSON head", f"{len(body)} bytes")
    shape = [len(body) // size if side == -1 else side for side in info.shape]
    return InferRequest(
        {info.name: unpack_tensor(body, datatype, shape, info.name)}, OutputOptions(binary=True)
    )
