"""`POST /v1/embeddings`: vectors of texts, as OpenAI's clients ask for them and read them."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelpad.errors import InvalidInput
from modelpad.foreign_json import Json
from modelpad.server.backend import Backend
from modelpad.server.http.messages import Request, Response, respond_json
from modelpad.server.protocols.openai.requests import (
    find_text_model,
    invalid_field,
    invalid_prompt,
    read_prompts,
    read_record,
)
from modelpad.server.routing import Names

if TYPE_CHECKING:
    from modelpad.engine.text import TextBatcher
    from modelpad.server.models import ServedModel

MAX_INPUTS = 2048
FORMATS = ("float", "base64")


async def embed(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /v1/embeddings`."""
    begun = time.perf_counter()
    record = await read_record(request)
    model, text = await find_text_model(backend, request, record)
    check_embeds(model, text)
    given, size = record.pop("input", None), request.reservation.size
    inputs = await text.run_apart(size, read_prompts, text, given, "input", MAX_INPUTS)
    check_tokens(inputs, text.session.tokenizer.size)
    encoding = read_format(record)
    dimensions = record.pop("dimensions", None)
    for name in record:
        raise invalid_field(name[:40], "omitted: it is unknown", str(record[name])[:40])
    request.stops_with_client = True
    vectors = [each.embedding for each in await text.run_all(text.classify_tokens, inputs)]
    check_dimensions(dimensions, vectors[0])
    backend.host.metrics.observe_prediction(time.perf_counter() - begun, model=model.name)
    read = sum(map(len, inputs))
    return respond_json(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": encode(vector, encoding)}
                for index, vector in enumerate(vectors)
            ],
            "model": model.name,
            "usage": {"prompt_tokens": read, "total_tokens": read},
        }
    )


def check_embeds(model: ServedModel, text: TextBatcher) -> None:
    """Raises `InvalidInput` for a model without embeddings."""
    if text.session.sequence.embedding is None:
        raise InvalidInput(
            f"The model {model.name!r} returns no embeddings.",
            hint="It serves " + model.bundle.manifest.task + ".",
            field="model",
            expected="a model that returns embeddings",
            got=model.name,
        )


def check_tokens(inputs: Sequence[Sequence[int]], size: int) -> None:
    """Raises `InvalidInput` for a token that is not in a vocabulary of this size."""
    largest = max(max(tokens) for tokens in inputs)
    if largest >= size:
        raise invalid_prompt(f"tokens below {size}", largest, "input")


def read_format(record: dict[str, Json]) -> str:
    """Takes the encoding out of a request. Raises `InvalidInput`."""
    given = record.pop("encoding_format", None)
    if given is None:
        return FORMATS[0]
    if given not in FORMATS:
        raise invalid_field("encoding_format", " or ".join(FORMATS), str(given)[:40])
    return str(given)


def check_dimensions(given: Json, vector: Any) -> None:
    """Raises `InvalidInput` for another number of dimensions than the model has."""
    if given is not None and given != len(vector):
        raise invalid_field("dimensions", f"{len(vector)}, which the model has", str(given)[:40])


def encode(vector: Any, encoding: str) -> Json:
    """A vector (E,) as numbers, or as base64 of float32 in little-endian order."""
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    numbers: list[Json] = vector.tolist()
    return numbers
