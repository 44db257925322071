"""Triton's generate extension for language models, with the names of its vLLM backend.

A request has `text_input` (or the model's own input name), and options of the text beside it, in
`parameters`, or as JSON in `sampling_parameters`. The response has `text_output`. Whole texts begin
with the prompt unless `exclude_input_in_output`; streamed ones never do.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from modelpad.errors import InvalidInput, ModelpadError, forget_frames
from modelpad.foreign_json import Json, load_json
from modelpad.server.backend import Backend
from modelpad.server.http.messages import Response, encode_json, respond_json
from modelpad.server.models import ServedModel

if TYPE_CHECKING:
    from modelpad.engine.text import GenerationRequest, TextBatcher, TextPiece

EVENTS = "text/event-stream; charset=utf-8"
OUTPUT = "text_output"
MAX_JSON_CHARS = 100_000


async def read_generation(text: TextBatcher, record: Mapping[str, object]) -> GenerationRequest:
    """What a request asks for. Raises `InvalidInput` and `TooLarge`."""
    from modelpad.engine.text.batcher import count_chars

    return await text.run_apart(count_chars(record), _read_generation, text, record)


def _read_generation(text: TextBatcher, record: Mapping[str, object]) -> GenerationRequest:
    from modelpad.engine.text.typed_text import read_prompt

    values = dict(record)
    for name in ("id", "stream", "return_finish_reason", "return_num_output_tokens"):
        values.pop(name, None)
    nested = values.pop("parameters", None)
    given = values.pop("sampling_parameters", None)
    for options in (nested, _read_json(given) if isinstance(given, str | bytes) else given):
        if options is None:
            continue
        if not isinstance(options, dict):
            raise InvalidInput(
                "sampling_parameters must be an object, or its JSON.",
                hint='Send {"temperature": 0.8}.',
                field="sampling_parameters",
            )
        values |= options
    echo = not _is_true(values.pop("exclude_input_in_output", False))
    _, request = read_prompt(text.session, values)
    request = replace(request, echo=echo and not request.stream)
    text.session.check_request(request)
    if request.n > 1:
        raise InvalidInput("n must be 1.", hint="Use /v1/completions.", field="n", expected="1")
    return request


def _is_true(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _read_json(body: str | bytes) -> Json:
    try:
        if len(body) > MAX_JSON_CHARS:
            raise ValueError("it is too long")
        return load_json(body)
    except ValueError as error:
        raise InvalidInput(
            f"sampling_parameters is not JSON: {error}.",
            hint='Send {"temperature": 0.8}.',
            field="sampling_parameters",
        ) from error


async def respond_generated(
    backend: Backend, model: ServedModel, text: TextBatcher, record: Mapping[str, object]
) -> Response:
    """The whole text, as JSON. Raises as `read_generation` and the engine."""
    begun = time.perf_counter()
    request = await read_generation(text, record)
    (generation,) = await text.generate_whole(replace(request, stream=False))
    seconds = time.perf_counter() - begun
    backend.host.metrics.observe_prediction(seconds, model=model.name)
    return respond_json(_write(model, record, generation.text))


async def stream_generated(
    backend: Backend, model: ServedModel, text: TextBatcher, record: Mapping[str, object]
) -> Response:
    """The pieces of the text as server-sent events; errors of the first piece have a status."""
    begun = time.perf_counter()
    request = replace(await read_generation(text, record), echo=False)
    pieces = text.generate(request)
    first = await anext(pieces)

    async def write_events() -> AsyncIterator[bytes]:
        async with aclosing(pieces):
            try:
                yield _write_event(_write(model, record, first.text))
                async for piece in pieces:
                    yield _write_event(_write(model, record, piece.text))
            except ModelpadError as error:
                yield _write_event({"error": error.words})
                forget_frames(error)
        seconds = time.perf_counter() - begun
        backend.host.metrics.observe_prediction(seconds, model=model.name)

    return Response(content_type=EVENTS, parts=write_events())


async def stream_pieces(
    text: TextBatcher, record: Mapping[str, object]
) -> AsyncGenerator[TextPiece, None]:
    """The pieces of a text, or all of it as one, if the request does not ask for a stream."""
    request = await read_generation(text, record)
    if _is_true(record.get("stream", False)):
        async with aclosing(text.generate(replace(request, echo=False))) as pieces:
            async for piece in pieces:
                yield piece
        return
    from modelpad.engine.text import TextPiece

    (whole,) = await text.generate_whole(replace(request, stream=False))
    yield TextPiece(0, whole.text, whole.count, whole.finish_reason)


def _write(model: ServedModel, record: Mapping[str, object], text: str) -> dict[str, object]:
    written: dict[str, object] = {
        "model_name": model.name,
        "model_version": str(model.version),
        OUTPUT: text,
    }
    given = record.get("id")
    return written | ({} if given is None else {"id": str(given)})


def _write_event(record: Mapping[str, object]) -> bytes:
    return b"data: " + encode_json(record) + b"\n\n"
