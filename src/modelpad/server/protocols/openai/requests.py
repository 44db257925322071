"""Reads requests of OpenAI's API: which model, which prompts, and how to continue them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from modelpad.errors import InvalidInput, ModelNotFound, suggest_name
from modelpad.foreign_json import Json
from modelpad.server.backend import Backend
from modelpad.server.host import STICKY
from modelpad.server.http.messages import Request
from modelpad.server.models import ServedModel

if TYPE_CHECKING:
    from modelpad.engine.text import GenerationRequest, TextBatcher

MAX_PROMPTS = 256
# What OpenAI's clients may send and changes nothing here.
IGNORED = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key")
OUR_LAST = 1 << 31


class Completion(msgspec.Struct, frozen=True):
    """A request for completions: one generation for each prompt."""

    model: ServedModel
    requests: tuple[GenerationRequest, ...]
    stream: bool = False
    include_usage: bool = False


async def read_record(request: Request) -> dict[str, Json]:
    """The body, as a JSON object. Raises `InvalidInput` and `TooLarge`."""
    record = await request.read_object(hint='Send {"model": ..., "prompt": ...}.')
    return {name: value for name, value in record.items() if name not in IGNORED}


async def find_text_model(
    backend: Backend, request: Request, record: dict[str, Json]
) -> tuple[ServedModel, TextBatcher]:
    """Takes `model` out of a request: NAME or NAME@VERSION; the only language model without it.

    Raises:
        ModelNotFound, VersionNotFound: there is no such model, or none that reads text.
        InvalidInput: it is not a string.
    """
    given = record.pop("model", None)
    if given is not None and not isinstance(given, str):
        raise InvalidInput(
            "model must be a string.", hint="Send the name of a model.", field="model"
        )
    table = backend.host.require_models()
    texts = [model.name for model in table if model.text is not None]
    if not texts:
        raise ModelNotFound(
            "No language model is served here.",
            hint="Serve one, such as: modelpad serve writer",
            known=[],
        )
    if not given:
        if len(texts) != 1:
            raise InvalidInput(
                "you must provide a model parameter.",
                hint=f"One of: {', '.join(texts)}.",
                field="model",
                expected=", ".join(texts),
                got="no model",
            )
        given = texts[0]
    name, _, version = given.partition("@")
    found = await backend.host.find(name, version, request.headers.get(STICKY))
    text = found.text
    if text is None:
        raise ModelNotFound(
            f"The model {name!r} is not a language model.",
            hint=suggest_name(name, texts) + f" {name} is served at /predict/{name}.",
            known=texts,
        )
    return found, text


async def find_writer(
    backend: Backend, request: Request, record: dict[str, Json]
) -> tuple[ServedModel, TextBatcher]:
    """The same, for a model that writes. Raises `InvalidInput` for one that classifies."""
    model, text = await find_text_model(backend, request, record)
    if not text.session.sequence.generates:
        raise InvalidInput(
            f"The model {model.name!r} classifies texts and writes none.",
            hint=f"Send the text to /predict/{model.name}.",
            field="model",
            expected="a model that generates text",
            got=model.name,
        )
    return model, text


async def read_completion(backend: Backend, request: Request) -> Completion:
    """A request of `/v1/completions`.

    Raises:
        InvalidInput: a field is missing, unknown or invalid.
        TooLarge: a prompt is too long, or there are more texts than may wait.
        Overloaded: there is no room for the texts now.
        ModelNotFound: there is no such model.
    """
    record = await read_record(request)
    model, text = await find_writer(backend, request, record)
    size = request.reservation.size
    prompts = await text.run_apart(size, read_prompts, text, record.pop("prompt", None))
    if record.pop("suffix", None):
        raise InvalidInput(
            "suffix is not supported: the model reads forwards.", hint="Omit it.", field="suffix"
        )
    stream, include_usage = read_stream(record)
    requests = make_requests(text, prompts, record | {"stream": stream})
    return Completion(model, requests, stream, include_usage)


def make_requests(
    text: TextBatcher, prompts: list[tuple[int, ...]], options: Mapping[str, object]
) -> tuple[GenerationRequest, ...]:
    """A generation for each prompt. Raises `InvalidInput`, `TooLarge` and `Overloaded`."""
    from modelpad.engine.text.options import read_options

    requests = tuple(
        read_options(text.session.tokenizer.size, prompt, options) for prompt in prompts
    )
    for each in requests:
        text.session.check_request(each)
    text.check_free(
        sum(each.candidates for each in requests), sum(each.held_tokens for each in requests)
    )
    return requests


def read_stream(record: dict[str, Json]) -> tuple[bool, bool]:
    """Takes `stream` and whether its usage is wanted out of a request. Raises `InvalidInput`."""
    stream, options = record.pop("stream", None), record.pop("stream_options", None)
    if stream not in (None, True, False):
        raise InvalidInput("stream must be true or false.", hint="Send a boolean.", field="stream")
    if options is None:
        return bool(stream), False
    known = ("include_usage", "include_obfuscation", "continuous_usage_stats")
    if not isinstance(options, dict) or not {*options} <= {*known} or not stream:
        raise InvalidInput(
            'stream_options must be {"include_usage": true}, and needs stream.',
            hint="Omit it, or set stream to true.",
            field="stream_options",
        )
    return True, bool(options.get("include_usage"))


def read_prompts(
    text: TextBatcher, value: Json, name: str = "prompt", most: int = MAX_PROMPTS
) -> list[tuple[int, ...]]:
    """The tokens of each prompt: a string, tokens, or a list of either. `name` is the field's.

    Raises `InvalidInput` and `TooLarge`.
    """
    if isinstance(value, str):
        return [encode_prompt(text, value, name)]
    if not isinstance(value, list) or not value:
        expected = "a string, a list of strings, tokens, or a list of tokens"
        raise invalid_prompt(expected, value, name)
    if isinstance(value[0], int):
        return [_read_tokens(value, name)]
    if len(value) > most:
        raise invalid_prompt(f"a list of at most {most:,}", f"{len(value):,}", name)
    prompts = []
    for each in value:
        if isinstance(each, str):
            prompts.append(encode_prompt(text, each, name))
        elif isinstance(each, list):
            prompts.append(_read_tokens(each, name))
        else:
            raise invalid_prompt("a list of strings, or of lists of tokens", each, name)
    return prompts


def encode_prompt(
    text: TextBatcher, prompt: str, name: str = "prompt", *, special: bool = False
) -> tuple[int, ...]:
    """The tokens of a prompt. Raises `InvalidInput`, and `TooLarge` beyond the field's length."""
    from modelpad.engine.text.typed_text import check_unicode

    if not prompt:
        raise invalid_prompt("at least one character", "an empty string", name)
    # Spaces alone are a prompt too, but no value of a field.
    text.session.signature.inputs[0].decode(prompt if prompt.strip() else "." * len(prompt))
    check_unicode(prompt, name)
    return tuple(text.session.tokenizer.encode(prompt, special=special))


def _read_tokens(values: list[Json], name: str) -> tuple[int, ...]:
    if not values:
        raise invalid_prompt("at least one token", "an empty list", name)
    tokens = []
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < OUR_LAST:
            raise invalid_prompt("tokens: whole numbers from 0", value, name)
        tokens.append(value)
    return tuple(tokens)


def invalid_prompt(expected: str, got: object, name: str = "prompt") -> InvalidInput:
    """The error for a prompt, or another field of texts, that is something else."""
    return InvalidInput(
        f"{name} must be {expected}, not {str(got)[:60]!r}.",
        hint="Send a string.",
        field=name,
        expected=expected,
        got=str(got)[:60],
    )


def invalid_field(name: str, expected: str, got: str) -> InvalidInput:
    """The error for a field that is something else than expected."""
    return InvalidInput(
        f"{name} must be {expected}, not {got!r}.",
        hint=f"Send {name} as {expected}.",
        field=name,
        expected=expected,
        got=got,
    )
