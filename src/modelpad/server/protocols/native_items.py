"""Many items in one request of the native API: a JSON list, or JSON lines as they come.

Each item is a prediction of its own, and one that fails has its own error.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import TypeAlias

from modelpad.errors import InvalidInput, ModelpadError, Overloaded, TooLarge, forget_frames
from modelpad.fields import Field, Signature
from modelpad.foreign_json import Json
from modelpad.server.budget import Reservation
from modelpad.server.codec import Codec, Inputs, Message, Options, Outputs, Written
from modelpad.server.errors import describe_error
from modelpad.server.http.decoding import estimate_json
from modelpad.server.http.json_stream import holds_array, respond_parts, stream
from modelpad.server.http.messages import Request, Response, encode_json, parse_json
from modelpad.server.inference import Inference
from modelpad.server.models import ServedModel
from modelpad.server.protocols.native_pictures import write_pictures

JSON_LINES = ("application/x-ndjson", "application/jsonl")
MAX_LINE_BYTES = 32 * 1024 * 1024
MAX_ITEMS = 10_000
MAX_AT_ONCE = 64
BUSY_S = 0.01  # between attempts to enqueue an item while the queue is full

# A value, values by name, or why there are none.
Item: TypeAlias = "Json | Mapping[str, object] | ModelpadError"
# An item with the bytes that are reserved for it.
Items = AsyncIterator[tuple[Item, int]]


def read_item(
    model: ServedModel, item: Json | Mapping[str, object], held_bytes: int
) -> Inputs[None]:
    """An item's values. Raises as `name_values`."""
    values = name_values(item, model.bundle.manifest.signature)
    return Inputs(values=values, options=None, held_bytes=held_bytes)


async def write_item(
    model: ServedModel, inputs: Inputs[None], outputs: Outputs
) -> dict[str, object]:
    """An item's JSON."""
    return await write_outputs(model, outputs)


ITEM = Codec(read_item, write_item)


def predict_lines(inference: Inference, model: ServedModel, request: Request) -> Response:
    """A prediction for each JSON line, as they come. A line that is too long is the last one.

    Raises `InvalidInput` for compressed lines, which cannot be read one by one.
    """
    check_plain(request, "JSON lines")
    items = _read_lines(request)
    return respond_lines(predict_items(inference, model, items, request.reservation))


async def predict_list(
    inference: Inference, model: ServedModel, items: list[Json], reservation: Reservation
) -> Response:
    """A prediction for each item of a list. Raises `TooLarge` for too many."""
    if len(items) > MAX_ITEMS:
        raise TooLarge(
            f"A request may contain at most {MAX_ITEMS:,} items, not {len(items):,}.",
            hint=f"Send any number of them as {JSON_LINES[0]}, one a line.",
            limit=MAX_ITEMS,
            got=len(items),
        )

    async def list_items() -> Items:
        for item in items:
            yield item, 0

    return await respond_list(model, predict_items(inference, model, list_items(), reservation))


def check_plain(request: Request, format: str) -> None:
    """Raises `InvalidInput` for a compressed body, which cannot be read as it comes."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise InvalidInput(
            f"Unsupported Content-Encoding for {format}: {encoding!r}.",
            hint="Send the body uncompressed.",
            expected="identity",
            got=encoding,
        )


def respond_lines(written: AsyncIterator[dict[str, object]]) -> Response:
    """Each item's JSON on a line, as it comes."""

    async def write_lines() -> AsyncIterator[bytes]:
        async for each in written:
            if not holds_array(each):
                yield encode_json(each) + b"\n"
                continue
            async for part in stream(each):
                yield part
            yield b"\n"

    return Response(content_type=JSON_LINES[0], parts=write_lines())


async def respond_list(model: ServedModel, written: AsyncIterator[dict[str, object]]) -> Response:
    """The items' JSON as one list."""

    async def write_list() -> AsyncIterator[bytes]:
        head = encode_json({"model": model.name, "version": model.version})
        between = head[:-1] + b',"predictions":['
        async for each in written:
            if holds_array(each):
                yield between
                async for part in stream(each):
                    yield part
            else:
                yield between + encode_json(each)
            between = b","
        yield b"]}" if between == b"," else between + b"]}"

    return await respond_parts(write_list())


async def write_outputs(model: ServedModel, outputs: Outputs) -> dict[str, object]:
    """A prediction's JSON: a single label is flat, anything else is below `outputs`."""
    signature = model.bundle.manifest.signature
    fields = signature.outputs
    if len(fields) == 1 and fields[0].kind == "label":
        return dict(outputs[fields[0].name])
    return {"outputs": await write_pictures(signature, outputs)}


def name_values(value: object, signature: Signature) -> dict[str, object]:
    """A JSON object's values by name; any other value is that of the only input.

    Raises `InvalidInput` when there are several inputs.
    """
    if isinstance(value, Mapping):
        return dict(value)
    return {only_input(signature).name: value}


def only_input(signature: Signature) -> Field:
    """The one input that must be given. Raises `InvalidInput` when there are several."""
    required = signature.required_inputs or signature.inputs
    if len(required) != 1:
        names = ", ".join(field.name for field in required)
        raise InvalidInput(
            "This model has several inputs, so each must be named.",
            hint=f"Send a JSON object or a form with: {names}.",
            expected=names,
            got="one value without a name",
        )
    return required[0]


async def _read_lines(request: Request) -> Items:
    try:
        async for line in request.lines(MAX_LINE_BYTES):
            size = estimate_json(line)
            try:
                request.reservation.grow(size)
                yield parse_json(line), size
            except InvalidInput as error:
                yield error, size
            except (TooLarge, Overloaded) as error:
                yield error, 0
    except (TooLarge, Overloaded) as error:
        yield error, 0


async def predict_items(
    inference: Inference, model: ServedModel, items: Items, reservation: Reservation
) -> AsyncIterator[dict[str, object]]:
    """The items' JSON in their order; a window of them at once, so that memory is bounded."""
    window = max(1, min(MAX_AT_ONCE, model.batcher.limits.max_length // 2))
    pending: deque[asyncio.Task[dict[str, object]]] = deque()
    with model.batcher.hold():
        try:
            async for item, size in items:
                work = _predict_item(inference, model, item, size, reservation)
                pending.append(asyncio.create_task(work))
                if len(pending) >= window:
                    yield await pending.popleft()
            while pending:
                yield await pending.popleft()
        finally:
            for task in pending:
                task.cancel()


async def _predict_item(
    inference: Inference,
    model: ServedModel,
    item: Item,
    size: int,
    reservation: Reservation,
) -> dict[str, object]:
    """An item's JSON, or its error's; gives back what was reserved for the item."""
    try:
        if isinstance(item, ModelpadError):
            raise item
        return await predict_when_free(inference, model, ITEM, item, size)
    except ModelpadError as error:
        record = describe_error(error)
        forget_frames(error)
        return record
    finally:
        reservation.shrink(size)


async def predict_when_free(
    inference: Inference,
    model: ServedModel,
    codec: Codec[*Message, Options, Written],
    *message: *Message,
) -> Written:
    """`Inference.predict` for one of many items of a request: it waits while the queue is full."""
    while True:
        try:
            return await inference.predict(model, codec, *message)
        except Overloaded:
            await asyncio.sleep(BUSY_S)
