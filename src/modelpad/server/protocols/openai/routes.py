"""The routes of OpenAI's API, and those of vLLM for tokens, which evaluation tools use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from modelpad.foreign_json import Json
from modelpad.server.backend import Backend
from modelpad.server.http.messages import JSON, Request, Response, respond_json
from modelpad.server.json_schema import TEXT, Schema, make_object, refer
from modelpad.server.protocols.openai.chat import read_chat
from modelpad.server.protocols.openai.embeddings import embed
from modelpad.server.protocols.openai.errors import write_error
from modelpad.server.protocols.openai.models import describe_model
from modelpad.server.protocols.openai.requests import (
    Completion,
    encode_prompt,
    find_text_model,
    invalid_field,
    read_completion,
    read_record,
)
from modelpad.server.protocols.openai.responses import (
    Head,
    Record,
    generate_all,
    name_token,
    respond_events,
    stream_pieces,
    write_choice,
    write_completion,
    write_logprobs,
    write_usage,
)
from modelpad.server.routing import Names, Operation, Route

if TYPE_CHECKING:
    from modelpad.engine.text import TextPiece

MAX_TOKENS = 1_000_000


async def complete(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /v1/completions`."""
    begun = time.perf_counter()
    asked = await read_completion(backend, request)
    request.stops_with_client = True
    return await respond(backend, asked, Head("text_completion", asked.model.name), begun)


async def respond(backend: Backend, asked: Completion, head: Head, begun: float) -> Response:
    """Completions, whole or streamed."""
    text = asked.model.text
    assert text is not None
    tokenizer, requests = text.session.tokenizer, asked.requests

    def observe() -> None:
        seconds = time.perf_counter() - begun
        backend.host.metrics.observe_prediction(seconds, model=asked.model.name)

    if not asked.stream:
        results = await generate_all(text, requests)
        observe()
        return write_completion(head, tokenizer, requests, results)

    def write(index: int, piece: TextPiece) -> Record:
        tokens = None if requests[0].logprobs is None else piece.tokens
        return head.write([write_choice(tokenizer, index, piece.text, piece.finish_reason, tokens)])

    def finish(written: int) -> Record | None:
        return head.write([], write_usage(requests, written)) if asked.include_usage else None

    return await respond_events(stream_pieces(text, requests), write, finish, observe)


async def chat(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /v1/chat/completions`."""
    begun = time.perf_counter()
    asked = await read_chat(backend, request)
    request.stops_with_client = True
    text = asked.model.text
    assert text is not None
    tokenizer, (wanted,) = text.session.tokenizer, asked.requests
    kind = "chat.completion.chunk" if asked.stream else "chat.completion"
    head = Head(kind, asked.model.name, "chatcmpl")

    def observe() -> None:
        seconds = time.perf_counter() - begun
        backend.host.metrics.observe_prediction(seconds, model=asked.model.name)

    def describe(tokens: Any) -> Record | None:
        return None if wanted.logprobs is None else _write_chat_logprobs(tokenizer, tokens)

    if not asked.stream:
        (generations,) = await generate_all(text, asked.requests)
        choices: list[Record] = [
            {
                "index": each.index,
                "message": {"role": "assistant", "content": each.text, "refusal": None},
                "logprobs": describe(each.tokens),
                "finish_reason": each.finish_reason,
            }
            for each in generations
        ]
        observe()
        written = sum(each.count for each in generations)
        return respond_json(head.write(choices, write_usage(asked.requests, written)))
    begun_choices: set[int] = set()

    def write(index: int, piece: TextPiece) -> Record:
        role = {} if index in begun_choices else {"role": "assistant"}
        begun_choices.add(index)
        delta = role | {"content": piece.text}
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": describe(piece.tokens),
            "finish_reason": piece.finish_reason,
        }
        return head.write([choice])

    def finish(written: int) -> Record | None:
        return head.write([], write_usage(asked.requests, written)) if asked.include_usage else None

    return await respond_events(stream_pieces(text, asked.requests), write, finish, observe)


def _write_chat_logprobs(tokenizer: Any, tokens: Any) -> Record:
    written = write_logprobs(tokenizer, tokens)
    content = []
    for token, logprob, top in zip(
        written["tokens"], written["token_logprobs"], written["top_logprobs"], strict=True
    ):
        others = [
            {"token": name, "logprob": value, "bytes": None} for name, value in (top or {}).items()
        ]
        content.append({"token": token, "logprob": logprob, "bytes": None, "top_logprobs": others})
    return {"content": content, "refusal": None}


async def list_models(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /v1/models`: OpenAI's list, and KServe's list of names."""
    table = backend.host.require_models()
    return respond_json(
        {
            "object": "list",
            "data": [describe_model(model.name, model.bundle.manifest.created) for model in table],
            "models": [model.name for model in table],
        }
    )


async def tokenize(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /tokenize`: a text's tokens; names of special tokens become these."""
    record = await read_record(request)
    _, text = await find_text_model(backend, request, record)
    prompt = record.pop("prompt", None)
    if not isinstance(prompt, str):
        raise invalid_field("prompt", "a string", type(prompt).__name__)
    strings = record.pop("return_token_strs", False)
    record.pop("add_special_tokens", None)
    _check_empty(record)
    session, size = text.session, request.reservation.size

    def encode() -> tuple[int, ...]:
        return encode_prompt(text, prompt, special=True) if prompt else ()

    tokens = await text.run_apart(size, encode)
    found: Record = {
        "tokens": tokens,
        "count": len(tokens),
        "max_model_len": session.sequence.context,
    }
    if strings:
        found["token_strs"] = [name_token(session.tokenizer, token) for token in tokens]
    return respond_json(found)


async def detokenize(backend: Backend, request: Request, names: Names) -> Response:
    """`POST /detokenize`: the text of tokens, special ones by their names."""
    record = await read_record(request)
    _, text = await find_text_model(backend, request, record)
    tokens = record.pop("tokens", None)
    _check_empty(record)
    tokenizer = text.session.tokenizer
    if not isinstance(tokens, list) or len(tokens) > MAX_TOKENS:
        raise invalid_field(
            "tokens", f"a list of at most {MAX_TOKENS:,} tokens", type(tokens).__name__
        )
    contents = []
    for token in tokens:
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < tokenizer.size:
            raise invalid_field("tokens", f"whole numbers below {tokenizer.size}", str(token)[:40])
        contents.append(tokenizer.contents[token])
    return respond_json({"prompt": b"".join(contents).decode("utf-8", "replace")})


async def show_tokenizer(backend: Backend, request: Request, names: Names) -> Response:
    """`GET /tokenizer_info`: the special tokens; `?model=` where several models read text."""
    record: dict[str, Json] = {**request.query()}
    model, text = await find_text_model(backend, request, record)
    sequence, tokenizer = text.session.sequence, text.session.tokenizer
    start, end = sequence.start, sequence.end[0] if sequence.end else sequence.start
    return respond_json(
        {
            "model": model.name,
            "tokenizer_class": "ByteLevelBPE",
            "vocab_size": tokenizer.size,
            "bos_token": None if start is None else tokenizer.name(start),
            "eos_token": None if end is None else tokenizer.name(end),
            "pad_token": None,
            "add_bos_token": False,
            "model_max_length": sequence.context,
            "chat_template": sequence.chat_template,
        }
    )


def _check_empty(record: dict[str, Json]) -> None:
    for name in record:
        raise invalid_field(name[:40], "omitted: it is unknown", str(record[name])[:40])


def _post(path: str, handler: Any, summary: str, names: tuple[str, str], **more: Any) -> Route:
    asked: dict[str, Schema] = {JSON: refer(names[0])}
    answered: dict[str, Schema] = {JSON: refer(names[1])}
    events = {"text/event-stream": make_object({"data": TEXT})} if more.get("predicts") else {}
    operation = Operation(summary, answered | events, asked)
    return Route("POST", path, handler, operation, write_error, **more)


ROUTES = (
    _post(
        "/v1/completions",
        complete,
        "OpenAI: continue texts",
        ("CompletionRequest", "Completion"),
        predicts=True,
    ),
    _post(
        "/v1/chat/completions",
        chat,
        "OpenAI: chat, for models with a chat template",
        ("ChatRequest", "Chat"),
        predicts=True,
    ),
    _post(
        "/v1/embeddings",
        embed,
        "OpenAI: vectors of texts, for models that have them",
        ("EmbeddingRequest", "Embeddings"),
    ),
    Route(
        "GET",
        "/v1/models",
        list_models,
        Operation("OpenAI: the models served", {JSON: refer("ModelList")}),
        write_error,
    ),
    _post("/tokenize", tokenize, "The tokens of a text", ("TokenizeRequest", "Tokens")),
    _post("/detokenize", detokenize, "The text of tokens", ("DetokenizeRequest", "Detokenized")),
    Route(
        "GET",
        "/tokenizer_info",
        show_tokenizer,
        Operation(
            "The special tokens of a language model",
            {JSON: refer("TokenizerInfo")},
            failures=("400", "404"),
        ),
        write_error,
    ),
)
