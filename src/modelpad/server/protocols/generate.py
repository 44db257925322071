"""Triton's generate extension: one item as flat JSON, in and out.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md.
Keys that name an input are its value, without the batch axis that tensors have elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modelpad.engine import TensorInfo
from modelpad.errors import InvalidInput, ModelpadError
from modelpad.foreign_json import Json
from modelpad.server.backend import Backend
from modelpad.server.codec import Codec, Inputs, Outputs
from modelpad.server.http.json_stream import check_finite, is_large, respond_stream
from modelpad.server.http.messages import JSON, Request, Response, respond_json
from modelpad.server.json_schema import TEXT, make_object, refer
from modelpad.server.models import ServedModel
from modelpad.server.protocols.generate_text import respond_generated, stream_generated
from modelpad.server.protocols.tensors import as_json, check_batch, read_numbers
from modelpad.server.routing import Names, Operation, Route, find_model, predict_with

if TYPE_CHECKING:
    from modelpad.engine.text import TextBatcher

EVENTS = "text/event-stream; charset=utf-8"


def read(model: ServedModel, request: Request, body: bytes) -> Inputs[str | None]:
    """The item, as a batch of one; its option is the request's `id`.

    Raises:
        InvalidInput: the body is not such a request, or does not fit the model.
        TooLarge: there are too many numbers.
    """
    record = _read_record(model, request.parse_json(body))
    infos = [info for info in model.inputs if info.name in record]
    arrays = {info.name: _read_value(record[info.name], info) for info in infos}
    given = None if "id" in arrays else record.get("id")
    return Inputs(
        tensors=check_batch(model, arrays),
        options=None if given is None else str(given),
        held_bytes=request.reservation.size,
    )


async def write(model: ServedModel, inputs: Inputs[str | None], outputs: Outputs) -> Response:
    """`{OUTPUT: value}`, without the batch axis."""
    record: dict[str, object] = {"model_name": model.name, "model_version": str(model.version)}
    if inputs.options is not None:
        record["id"] = inputs.options
    items = {info.name: _take_item(outputs[info.name], info) for info in model.outputs}
    if is_large(outputs.values()):
        for item in items.values():
            await check_finite(item)
        return respond_stream(record | items, outputs)
    return respond_json(record | {name: as_json(item) for name, item in items.items()})


GENERATE = Codec(read, write)
predict = predict_with(GENERATE)


async def generate(backend: Backend, request: Request, names: Names) -> Response:
    """`.../generate`: one item; of a language model a text."""
    model = await find_model(backend, request, names)
    text = find_writer(model)
    if text is None:
        return await predict(backend, request, names)
    with text.hold():
        return await respond_generated(backend, model, text, await _read_object(request))


async def generate_stream(backend: Backend, request: Request, names: Names) -> Response:
    """`.../generate_stream`: a text piece by piece, an event for each.

    Of other models, the response of `generate` is the only event.
    """
    model = await find_model(backend, request, names)
    text = find_writer(model)
    if text is None:
        return write_event(await predict(backend, request, names))
    with text.hold():
        return await stream_generated(backend, model, text, await _read_object(request))


def find_writer(model: ServedModel) -> TextBatcher | None:
    """The engine of a model that generates text; None for others."""
    text = model.text
    return text if text is not None and text.session.sequence.generates else None


async def _read_object(request: Request) -> dict[str, Json]:
    record = await request.read_object(hint='Send {"text_input": "..."}.')
    request.stops_with_client = True
    return record


def write_event(response: Response) -> Response:
    """A response as a server-sent event."""
    parts = response.parts
    if parts is None:
        return Response(b"data: " + response.body + b"\n\n", EVENTS)

    async def write() -> AsyncIterator[bytes]:
        yield b"data: "
        async for part in parts:
            yield part
        yield b"\n\n"

    return Response(content_type=EVENTS, parts=write())


def _read_record(model: ServedModel, record: Json) -> dict[str, Json]:
    """The request's object. What is not an input is a parameter: text, a number or a boolean."""
    names = [info.name for info in model.inputs]
    if not isinstance(record, dict):
        raise InvalidInput(
            "The request must be a JSON object with the inputs by name.",
            hint=f"Send: {', '.join(names)}.",
            expected=f"an object with {', '.join(names)}",
            got=type(record).__name__,
        )
    for name, value in record.items():
        given = value if name == "parameters" else {name: value}
        plain = isinstance(given, dict) and not any(
            isinstance(each, list | dict) for each in given.values()
        )
        if name not in names and not plain:
            raise InvalidInput(
                f"{name!r} is neither an input of model {model.name!r} nor a parameter.",
                hint=f"Its inputs: {', '.join(names)}; parameters are text, numbers or booleans.",
                field=name,
                expected=", ".join(names),
                got=type(value).__name__,
            )
    return record


def _read_value(value: Json, info: TensorInfo) -> NDArray[np.generic]:
    """A batch of one; the item's numbers may be one flat list, as in Triton."""
    array = read_numbers(value, info.name)
    item = info.item_shape
    if -1 not in item and array.size == math.prod(item):
        array = array.reshape(item)
    if info.batch_axis is None or info.batch_axis > array.ndim:
        return array
    return np.expand_dims(array, info.batch_axis)


def _take_item(array: NDArray[np.generic], info: TensorInfo) -> NDArray[np.generic]:
    """The only item of an output, without its batch axis."""
    return array if info.batch_axis is None else np.moveaxis(array, info.batch_axis, 0)[0, ...]


def list_routes(path: str, write_error: Callable[[ModelpadError], Response]) -> Iterator[Route]:
    """The routes below a model's path."""
    request, response = {JSON: refer("GenerateRequest")}, {JSON: refer("GenerateResponse")}
    once = Operation("Triton: one item by names", response, request)
    event = {"text/event-stream": make_object({"data": TEXT})}
    streamed = Operation("Triton: the same as an event", event, request)
    yield Route("POST", f"{path}/generate", generate, once, write_error, predicts=True)
    yield Route(
        "POST", f"{path}/generate_stream", generate_stream, streamed, write_error, predicts=True
    )
