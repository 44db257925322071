"""Requests of OpenAI's API and of Triton's for texts: prompts, messages and options."""

from __future__ import annotations

from types import MethodType, SimpleNamespace
from typing import Any

from fuzz.models import allow_errors, run
from fuzz.targets import CORPUS
from modelpad.bundle import SequenceModel
from modelpad.engine.text import TextBatcher, TextSession
from modelpad.engine.text.options import read_options
from modelpad.engine.text.typed_text import DEFAULTS, read_prompt
from modelpad.fields import Signature, Text
from modelpad.fields.byte_pairs import load_tokenizer
from modelpad.server.http.messages import parse_json
from modelpad.server.protocols.generate_text import read_generation
from modelpad.server.protocols.openai.chat import read_chat_options, read_messages
from modelpad.server.protocols.openai.embeddings import MAX_INPUTS, check_tokens, read_format
from modelpad.server.protocols.openai.requests import make_requests, read_prompts, read_stream

DECODERS = (
    "modelpad.engine.text.options",
    "modelpad.engine.text.typed_text",
    "modelpad.server.protocols.generate_text",
    "modelpad.server.protocols.openai.chat",
    "modelpad.server.protocols.openai.embeddings",
    "modelpad.server.protocols.openai.requests",
)


def make_engine() -> TextBatcher:
    """An engine without a graph, which only reads requests."""
    session: Any = SimpleNamespace(
        tokenizer=load_tokenizer((CORPUS / "tokenizer_file" / "small.json").read_bytes()),
        sequence=SequenceModel(
            "tokenizer.json", "tokens", "lengths", "positions", "logits", (), 0, (0,), 500
        ),
        signature=Signature((Text("prompt", 1000),), (Text("text"),)),
    )
    session.check_request = MethodType(TextSession.check_request, session)
    session._check_length = MethodType(TextSession._check_length, session)
    return TextBatcher(session)


ENGINE = make_engine()


def fuzz(data: bytes) -> None:
    """Reads the input as every kind of request."""
    value = parse_json(data)
    if not isinstance(value, dict):
        return
    for act in (complete, chat, embed, generate, predict):
        with allow_errors():
            act({**value})


def complete(record: dict[str, Any]) -> None:
    """As `/v1/completions`."""
    prompts = read_prompts(ENGINE, record.pop("prompt", None))
    stream, _ = read_stream(record)
    for request in make_requests(ENGINE, prompts, record | {"stream": stream}):
        assert 1 <= request.n <= request.candidates
        assert 0 <= request.min_tokens <= request.max_tokens


def chat(record: dict[str, Any]) -> None:
    """As `/v1/chat/completions`."""
    read_messages(record.pop("messages", None))
    read_stream(record)
    read_options(ENGINE.session.tokenizer.size, (1,), read_chat_options(record), DEFAULTS)


def embed(record: dict[str, Any]) -> None:
    """As `/v1/embeddings`."""
    inputs = read_prompts(ENGINE, record.pop("input", None), "input", MAX_INPUTS)
    check_tokens(inputs, ENGINE.session.tokenizer.size)
    assert read_format(record) in ("float", "base64")


def generate(record: dict[str, Any]) -> None:
    """As Triton's `generate`."""
    run(read_generation(ENGINE, record))


def predict(record: dict[str, Any]) -> None:
    """As the typed API."""
    read_prompt(ENGINE.session, record)
