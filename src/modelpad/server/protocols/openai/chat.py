"""`/v1/chat/completions`, for models whose bundle has a chat template.

A template is Jinja and comes with a bundle, so it runs in Jinja's sandbox, without access to
anything but the messages, and within limits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modelpad.errors import InvalidInput, MissingExtra, ModelFailed, first_line
from modelpad.foreign_json import Json
from modelpad.server.backend import Backend
from modelpad.server.http.messages import Request
from modelpad.server.protocols.openai.requests import (
    Completion,
    encode_prompt,
    find_writer,
    make_requests,
    read_record,
    read_stream,
)

if TYPE_CHECKING:
    from modelpad.engine.text import TextBatcher

MAX_MESSAGES = 1000
MAX_RENDERED_CHARS = 1_000_000
ROLES = ("system", "developer", "user", "assistant", "tool")


async def read_chat(backend: Backend, request: Request) -> Completion:
    """A request of `/v1/chat/completions`.

    Raises as `read_completion`; `InvalidInput` too if the model has no chat template.
    """
    record = await read_record(request)
    model, text = await find_writer(backend, request, record)
    template = text.session.sequence.chat_template
    if template is None:
        raise InvalidInput(
            f"The model {model.name!r} has no chat template: it only continues texts.",
            hint="Send the text to /v1/completions.",
            field="model",
            expected="a model with a chat template",
            got=model.name,
        )
    messages = read_messages(record.pop("messages", None))
    stream, include_usage = read_stream(record)
    options = read_chat_options(record)

    def encode() -> tuple[int, ...]:
        return encode_prompt(text, render(text, template, messages), special=True)

    prompt = await text.run_apart(request.reservation.size, encode)
    requests = make_requests(text, [prompt], options | {"stream": stream})
    return Completion(model, requests, stream, include_usage)


def read_messages(value: Json) -> list[dict[str, str]]:
    """The messages, each with a role and text. Raises `InvalidInput`."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MESSAGES:
        raise _invalid(f"from 1 to {MAX_MESSAGES} messages", type(value).__name__)
    messages = []
    for each in value:
        role = each.get("role") if isinstance(each, dict) else None
        if not isinstance(each, dict) or role not in ROLES:
            raise _invalid(f"objects with a role: {', '.join(ROLES)}", str(role))
        messages.append({"role": str(role), "content": _read_content(each.get("content"))})
    return messages


def _read_content(value: Json) -> str:
    """A string, or a list of parts of type `text`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [part for part in value if isinstance(part, dict) and part.get("type") == "text"]
        texts = [part.get("text") for part in parts]
        if len(parts) == len(value) and all(isinstance(text, str) for text in texts):
            return "".join(str(text) for text in texts)
    raise _invalid("messages with text as content", type(value).__name__)


def read_chat_options(record: dict[str, Json]) -> dict[str, object]:
    """The options of a chat by the names that completions have. Raises `InvalidInput`."""
    options: dict[str, object] = {**record}
    longest = options.pop("max_completion_tokens", None)
    if longest is not None:
        options["max_tokens"] = longest
    options.setdefault("max_tokens", 256)
    top = options.pop("top_logprobs", None)
    if options.get("logprobs") is True:
        options["logprobs"] = top or 0
    elif options.get("logprobs") is False:
        del options["logprobs"]
    return options


def render(text: TextBatcher, template: str, messages: list[dict[str, str]]) -> str:
    """The prompt for messages.

    Raises:
        InvalidInput: the template rejects the messages.
        MissingExtra: Jinja is not installed.
        ModelFailed: the template is invalid.
    """
    tokenizer, sequence = text.session.tokenizer, text.session.sequence
    end = tokenizer.name(sequence.end[0]) if sequence.end else ""
    start = tokenizer.name(sequence.start) if sequence.start is not None else ""
    try:
        compiled = compile_template(template)
        parts, size = [], 0
        for part in compiled.generate(
            messages=messages, add_generation_prompt=True, eos_token=end, bos_token=start
        ):
            size += len(part)
            if size > MAX_RENDERED_CHARS:
                raise _invalid(f"at most {MAX_RENDERED_CHARS:,} characters in all", f"{size:,}")
            parts.append(part)
        return "".join(parts)
    except (InvalidInput, MissingExtra):
        raise
    except Exception as error:
        raise ModelFailed(
            f"The chat template failed: {first_line(error, 200)}",
            hint="Check the chat_template in the bundle's manifest.",
        ) from error


@lru_cache(maxsize=16)
def compile_template(template: str) -> Any:
    """A template in Jinja's sandbox. Raises `MissingExtra`, and Jinja's own errors."""
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise MissingExtra("jinja2", extra="text") from error

    def raise_exception(message: str) -> None:
        raise _invalid("messages that the chat template accepts", str(message)[:200])

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals.clear()
    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(template)


def _invalid(expected: str, got: str) -> InvalidInput:
    return InvalidInput(
        f"messages must be {expected}, not {got!r}.",
        hint='Send [{"role": "user", "content": "..."}].',
        field="messages",
        expected=expected,
        got=got,
    )
