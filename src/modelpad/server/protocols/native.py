"""The typed API: `POST /predict/{model}` with whatever is handy.

JSON (`{"image": "data:..."}` or a bare string), a multipart form, a raw `image/*` or `text/plain`
body, or a `data:` URL. The answer is typed JSON, the same for each of these.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from modelpad.errors import InvalidInput, ModelpadError, Overloaded, TooLarge, forget_frames
from modelpad.server.errors import describe_error
from modelpad.server.http.decoding import MAX_PARTS, estimate_json
from modelpad.server.http.json_stream import holds_array, respond_parts, respond_stream, stream
from modelpad.server.http.messages import (
    JSON,
    Request,
    Response,
    encode_json,
    parse_json,
    respond_json,
)

if TYPE_CHECKING:
    from modelpad.fields import Signature
    from modelpad.server.budget import Reservation
    from modelpad.server.lifecycle.shadowing import Shadow
    from modelpad.server.models import ServedModel

FORM = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"
LINES = ("application/x-ndjson", "application/jsonl")
LONGEST_LINE = 32 * 1024 * 1024
MAX_ITEMS = 10_000
MAX_AT_ONCE = 64
BUSY_S = 0.01
EXPECTED = "JSON, a multipart form, a raw image or text body, or a data: URL"


async def predict(model: ServedModel, request: Request) -> Response:
    """One prediction, or many: a JSON list of objects.

    Raises what the fields, the batcher and the session raise; among many, each has its own error.
    """
    signature = model.bundle.manifest.signature
    body = await request.body()
    if request.content_type == JSON and body.lstrip()[:1] == b"[":
        items = request.parse_json(body)
        if items and isinstance(items[0], dict):
            return await _answer_list(model, items, request.reservation)
    values = read_values(request, body, signature)
    outputs = await model.batcher.answer(values)
    answer = write_answer(model, outputs)
    return respond_stream(answer, outputs) if holds_array(answer) else respond_json(answer)


def predict_lines(model: ServedModel, request: Request, shadow: Shadow | None = None) -> Response:
    """A prediction for each JSON line, as they come; each line that fails has its own error.

    A line that is too long is the last one. A shadow is asked each line that has an answer.

    Raises `InvalidInput` for lines that are packed, as they cannot be read one by one.
    """
    packed = request.headers.get("content-encoding", "identity")
    if packed.strip().lower() != "identity":
        raise InvalidInput(
            f"JSON lines packed as {packed!r} are not understood.",
            hint="Send them plain.",
            expected="plain lines",
            got=packed,
        )

    async def each() -> AsyncIterator[tuple[Any, int]]:
        try:
            async for line in request.lines(LONGEST_LINE):
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

    async def answer() -> AsyncIterator[bytes]:
        with model.batcher.hold():
            async for told in _answer_many(model, each(), request.reservation, shadow):
                if not holds_array(told):
                    yield encode_json(told) + b"\n"
                    continue
                async for part in stream(told):
                    yield part
                yield b"\n"

    return Response(content_type=LINES[0], parts=answer())


async def _answer_list(model: ServedModel, items: list[Any], reservation: Reservation) -> Response:
    if len(items) > MAX_ITEMS:
        raise TooLarge(
            f"{len(items):,} items are too many for one answer; at most {MAX_ITEMS:,} go.",
            hint=f"Send them as {LINES[0]}, a line each: any number goes.",
            limit=MAX_ITEMS,
            got=len(items),
        )

    async def each() -> AsyncIterator[tuple[Any, int]]:
        for item in items:
            yield item, 0

    async def answer() -> AsyncIterator[bytes]:
        head = encode_json({"model": model.name, "version": model.version})
        between = head[:-1] + b',"predictions":['
        with model.batcher.hold():
            async for told in _answer_many(model, each(), reservation):
                if holds_array(told):
                    yield between
                    async for part in stream(told):
                        yield part
                else:
                    yield between + encode_json(told)
                between = b","
        yield b"]}"

    return await respond_parts(answer())


async def _answer_many(
    model: ServedModel,
    items: AsyncIterator[tuple[Any, int]],
    reservation: Reservation,
    shadow: Shadow | None = None,
) -> AsyncIterator[Any]:
    """Answers in the items' order, a window of them at once, so that memory stays as it is.

    Each item comes with the bytes that were reserved for it, which it gives back.
    """
    window = max(1, min(MAX_AT_ONCE, model.batcher.limits.max_length // 2))
    waiting: deque[asyncio.Task[Any]] = deque()

    async def answer(item: Any, size: int) -> Any:
        try:
            if isinstance(item, ModelpadError):
                raise item
            while True:
                try:
                    outputs = await _answer_item(model, item)
                except Overloaded:
                    await asyncio.sleep(BUSY_S)
                    continue
                if shadow is not None:
                    shadow.compare(lambda version: _answer_item(version, item), outputs)
                return write_outputs(model, outputs)
        except ModelpadError as error:
            told = describe_error(error)
            forget_frames(error)
            return told
        finally:
            reservation.shrink(size)

    try:
        async for item, size in items:
            waiting.append(asyncio.create_task(answer(item, size)))
            if len(waiting) >= window:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()


async def _answer_item(model: ServedModel, item: Any) -> dict[str, Any]:
    return await model.batcher.answer(_name_values(item, model.bundle.manifest.signature))


def read_values(request: Request, body: bytes, signature: Signature) -> dict[str, object]:
    """The values of the input fields, by name, not decoded yet.

    Raises:
        InvalidInput: the body is not what its content type says, or not of a known type.
    """
    kind = request.content_type
    if kind == FORM:
        return _read_form(request, body)
    if kind == JSON or kind.endswith("+json"):
        return _name_values(request.parse_json(body), signature)
    if kind.startswith(("image/", "text/")) or kind in ("application/octet-stream", "", URLENCODED):
        return _read_raw(request, body, signature)
    raise InvalidInput(
        f"A body of type {kind!r} is not understood.",
        hint="Set content-type to application/json, multipart/form-data, image/png or text/plain.",
        expected=EXPECTED,
        got=kind,
    )


def write_answer(model: ServedModel, outputs: dict[str, Any]) -> dict[str, Any]:
    """The answer's JSON: a single label lies flat beside the model's name and version."""
    return {"model": model.name, "version": model.version} | write_outputs(model, outputs)


def write_outputs(model: ServedModel, outputs: dict[str, Any]) -> dict[str, Any]:
    """The same without its head."""
    fields = model.bundle.manifest.signature.outputs
    if len(fields) == 1 and fields[0].kind == "label":
        return dict(outputs[fields[0].name])
    return {"outputs": outputs}


def _read_raw(request: Request, body: bytes, signature: Signature) -> dict[str, object]:
    kind = request.content_type
    # curl --data-binary without a header says "urlencoded": look at the body instead.
    guess = kind in ("", URLENCODED, "application/octet-stream")
    if guess and body[:1] in (b"{", b"["):
        return _name_values(request.parse_json(body), signature)
    only = _only_input(signature)
    if guess and not body:
        raise InvalidInput(
            "The body is empty (0 bytes).", hint="Send an input.", expected=EXPECTED, got="0 bytes"
        )
    if body[:5].lower() == b"data:" and only.kind in ("sketch", "image"):
        return {only.name: body.decode("ascii", "replace")}
    return {only.name: body}


def _name_values(value: Any, signature: Signature) -> dict[str, object]:
    if isinstance(value, dict):
        return dict(value)
    return {_only_input(signature).name: value}


def _only_input(signature: Signature) -> Any:
    if len(signature.inputs) != 1:
        names = ", ".join(field.name for field in signature.inputs)
        raise InvalidInput(
            "This model has several inputs, so each must be named.",
            hint=f"Send a JSON object or a form with: {names}.",
            expected=names,
            got="one value without a name",
        )
    return signature.inputs[0]


def _read_form(request: Request, body: bytes) -> dict[str, object]:
    from python_multipart import FormParser
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import parse_options_header

    values: dict[str, object] = {}

    def take_field(part: Any) -> None:
        values[part.field_name.decode("utf-8", "replace")] = _read_part(request, part.value or b"")

    def take_file(part: Any) -> None:
        part.file_object.seek(0)
        values[part.field_name.decode("utf-8", "replace")] = part.file_object.read()

    content_type = request.headers["content-type"]
    boundary = parse_options_header(content_type)[1].get(b"boundary") or b""
    if body.count(b"--" + boundary) > MAX_PARTS:
        raise TooLarge(
            f"A form may have at most {MAX_PARTS:,} parts.",
            hint="Send one part for each input of the model.",
            limit=MAX_PARTS,
        )
    request.reservation.grow(len(body))  # the parser copies every part
    try:
        parser = FormParser(
            FORM,
            take_field,
            take_file,
            boundary=boundary,
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1, "UPLOAD_DIR": None},
        )
        try:
            parser.write(body)
            parser.finalize()
        finally:
            parser.parser = None  # its callbacks refer back to it: a cycle that keeps every part
    except (FormParserError, ValueError, TypeError, AssertionError) as error:
        raise InvalidInput(
            f"The form cannot be read: {error}.",
            hint="With curl: curl -F image=@picture.png URL",
            expected="multipart/form-data with a boundary",
            got=content_type[:100],
        ) from error
    return values


def _read_part(request: Request, value: bytes) -> object:
    """A form's text, as text; lists and numbers as the JSON they are."""
    text = value.decode("utf-8", "replace")
    return request.parse_json(value) if text[:1] == "[" else text
