"""Triton's generate extension: one item as flat JSON, in and out.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md.
Keys that name an input are its value, without the batch axis that tensors have elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from modelpad.errors import InvalidInput
from modelpad.server.http.json_stream import check_finite, is_large, respond_stream
from modelpad.server.http.messages import Request, Response, respond_json
from modelpad.server.protocols.tensors import check_batch, read_numbers, split_items

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from modelpad.engine import TensorInfo
    from modelpad.server.models import ServedModel

EVENTS = "text/event-stream; charset=utf-8"


async def generate(model: ServedModel, request: Request) -> Response:
    """`POST .../generate`: `{INPUT: value}` is answered as `{OUTPUT: value}`."""
    record = _read_record(model, request.parse_json(await request.body()))
    values = {info.name: info for info in model.inputs if info.name in record}
    arrays = {name: _read_value(record[name], info) for name, info in values.items()}
    outputs = await model.batcher.run(check_batch(model, arrays))
    answer = {"model_name": model.name, "model_version": str(model.version)}
    if record.get("id") is not None and "id" not in arrays:
        answer["id"] = str(record["id"])
    names = [info.name for info in model.outputs]
    if is_large(outputs.values()):
        for name in names:
            await check_finite(outputs[name])
        return respond_stream(answer | {name: outputs[name][0] for name in names}, outputs)
    return respond_json(answer | split_items(outputs, names)[0])


def write_event(response: Response) -> Response:
    """`.../generate_stream`: the same as the one event of a stream, as the models answer once."""
    parts = response.parts
    if parts is None:
        return Response(b"data: " + response.body + b"\n\n", EVENTS)

    async def write() -> AsyncIterator[bytes]:
        yield b"data: "
        async for part in parts:
            yield part
        yield b"\n\n"

    return Response(content_type=EVENTS, parts=write())


def _read_record(model: ServedModel, record: Any) -> dict[str, Any]:
    """The request's object. What it holds besides inputs are parameters, which are not lists."""
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
                f"{name!r} is no input of model {model.name!r}, and no parameter.",
                hint=f"Its inputs: {', '.join(names)}; parameters are text, numbers or booleans.",
                field=name,
                expected=", ".join(names),
                got=type(value).__name__,
            )
    return record


def _read_value(value: Any, info: TensorInfo) -> NDArray[Any]:
    """A batch of one; the item's numbers may come in one flat list, as Triton takes them."""
    array = read_numbers(value, info.name)
    item = info.shape[1:]
    is_flat = -1 not in item and array.size == math.prod(item)
    return array.reshape(1, *(item if is_flat else array.shape))
