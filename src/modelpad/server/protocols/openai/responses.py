"""Writes completions as OpenAI's clients read them, whole or as server-sent events."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import force_setattr

from modelpad.errors import ModelpadError, forget_frames
from modelpad.server.http.messages import Response, encode_json, respond_json
from modelpad.server.protocols.openai.errors import describe_error

if TYPE_CHECKING:
    from modelpad.engine.text import (
        Generation,
        GenerationRequest,
        TextBatcher,
        TextPiece,
        TokenScore,
    )
    from modelpad.fields.byte_pairs import ByteLevelTokenizer

EVENTS = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"
Record = dict[str, Any]


class Head(msgspec.Struct, frozen=True):
    """What all parts of a response begin with."""

    object: str
    model: str
    prefix: str = "cmpl"
    id: str = ""
    created: int = msgspec.field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        force_setattr(self, "id", f"{self.prefix}-{secrets.token_hex(12)}")

    def write(self, choices: list[Record], usage: Record | None = None) -> Record:
        """A whole response, or one event."""
        return {
            "id": self.id,
            "object": self.object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
            "usage": usage,
        }


def write_usage(requests: Iterable[GenerationRequest], written: int) -> Record:
    """How many tokens were read and written."""
    read = sum(len(each.prompt) for each in requests)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def write_choice(
    tokenizer: ByteLevelTokenizer,
    index: int,
    text: str,
    reason: str | None,
    tokens: Sequence[TokenScore] | None,
) -> Record:
    """A text, or a piece of one; with log probabilities if `tokens` are given."""
    logprobs = None if tokens is None else write_logprobs(tokenizer, tokens)
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def write_logprobs(tokenizer: ByteLevelTokenizer, tokens: Sequence[TokenScore]) -> Record:
    """The log probability of each token and of the likeliest ones in its place."""
    return {
        "tokens": [name_token(tokenizer, each.token) for each in tokens],
        "token_logprobs": [each.logprob for each in tokens],
        "top_logprobs": [_write_top(tokenizer, each) for each in tokens],
        "text_offset": [each.offset for each in tokens],
    }


def _write_top(tokenizer: ByteLevelTokenizer, score: TokenScore) -> Record | None:
    if score.logprob is None:
        return None
    likeliest = {name_token(tokenizer, token): value for token, value in score.top}
    return likeliest | {name_token(tokenizer, score.token): score.logprob}


def name_token(tokenizer: ByteLevelTokenizer, token: int) -> str:
    """A token's text; that of one that is no whole character is `bytes:` with its bytes."""
    content = tokenizer.contents[token] if 0 <= token < tokenizer.size else b""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)


async def generate_all(
    text: TextBatcher, requests: Sequence[GenerationRequest]
) -> list[list[Generation]]:
    """The texts for each prompt. Raises the first error, and ends the others then."""
    tasks = [asyncio.ensure_future(text.generate_whole(each)) for each in requests]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def write_completion(
    head: Head,
    tokenizer: ByteLevelTokenizer,
    requests: Sequence[GenerationRequest],
    results: Sequence[Sequence[Generation]],
) -> Response:
    """The whole response."""
    choices: list[Record] = []
    for request, generations in zip(requests, results, strict=True):
        for each in generations:
            tokens = None if request.logprobs is None else each.tokens
            choices.append(
                write_choice(tokenizer, len(choices), each.text, each.finish_reason, tokens)
            )
    written = sum(each.count for generations in results for each in generations)
    return respond_json(head.write(choices, write_usage(requests, written)))


async def stream_pieces(
    text: TextBatcher, requests: Sequence[GenerationRequest]
) -> AsyncGenerator[tuple[int, TextPiece], None]:
    """The pieces of all prompts' texts as they come, each with its choice's number.

    Raises the first error. Whoever stops iterating ends all texts.
    """
    if len(requests) == 1:
        async with aclosing(text.generate(requests[0])) as pieces:
            async for piece in pieces:
                yield piece.index, piece
        return
    queue: asyncio.Queue[tuple[int, TextPiece] | Exception | None] = asyncio.Queue()

    async def forward(place: int, request: GenerationRequest) -> None:
        try:
            async for piece in text.generate(request):
                queue.put_nowait((place * request.n + piece.index, piece))
        except ModelpadError as error:
            queue.put_nowait(error)
        queue.put_nowait(None)

    tasks = [asyncio.ensure_future(forward(*each)) for each in enumerate(requests)]
    try:
        left = len(tasks)
        while left:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()


async def respond_events(
    pieces: AsyncGenerator[tuple[int, TextPiece], None],
    write: Callable[[int, TextPiece], Record],
    finish: Callable[[int], Record | None],
    observe: Callable[[], None],
) -> Response:
    """The pieces as server-sent events. Waits for the first, so that errors before have a status.

    `finish` is the last event but for `[DONE]`, made from the number of tokens written; `observe`
    is called at the end.
    """
    first = await anext(pieces)

    async def write_events() -> AsyncIterator[bytes]:
        counts: dict[int, int] = {}
        async with aclosing(pieces):
            try:
                yield write_event(write(*first))
                counts[first[0]] = first[1].count
                async for index, piece in pieces:
                    counts[index] = piece.count
                    yield write_event(write(index, piece))
            except ModelpadError as error:
                yield write_event(describe_error(error))
                forget_frames(error)
                return
        last = finish(sum(counts.values()))
        observe()
        yield DONE if last is None else write_event(last) + DONE

    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return Response(content_type=EVENTS, headers=headers, parts=write_events())


def write_event(record: Record) -> bytes:
    """A server-sent event."""
    return b"data: " + encode_json(record) + b"\n\n"
