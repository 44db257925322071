"""The typed side of language models: values of a request, such as `words`, and results as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from modelpad.engine.text.options import read_options
from modelpad.engine.text.requests import Classified, GenerationRequest
from modelpad.errors import InvalidInput

if TYPE_CHECKING:
    from modelpad.bundle import SequenceModel
    from modelpad.engine.typed import TypedAccess
    from modelpad.fields import Signature
    from modelpad.fields.byte_pairs import ByteLevelTokenizer

# What one asks for who only sends a prompt: less surprising than at temperature 1.
DEFAULTS: dict[str, Any] = {"max_tokens": 256, "temperature": 0.8, "top_p": 0.95, "echo": True}
ALIASES = ("text_input", "prompt")  # Triton's name and ours


class TextModel(Protocol):
    """What reading a request needs of a session."""

    signature: Signature
    sequence: SequenceModel
    tokenizer: ByteLevelTokenizer


def read_prompt(session: TextModel, values: Mapping[str, object]) -> tuple[str, GenerationRequest]:
    """The text in a request's values, and how to continue it.

    Raises `InvalidInput` and `TooLarge`: a value is missing, unknown or invalid.
    """
    field = session.signature.inputs[0]
    given = dict(values)
    names = (field.name, *(ALIASES if session.sequence.generates else ()))
    name = next((each for each in names if each in given), None)
    if name is None:
        raise InvalidInput(
            f"The field {field.name!r} is missing.",
            hint=f"Send: {field.name}.",
            field=field.name,
            expected=field.name,
            got=", ".join(sorted(given))[:100] or "no field",
        )
    text = read_text(field.decode(given.pop(name)), field.name)
    if not session.sequence.generates:
        if given:
            raise InvalidInput(
                f"There is no field {next(iter(given))[:40]!r}.",
                hint=f"Send: {field.name}.",
                field=next(iter(given))[:40],
                expected=field.name,
            )
        return text, GenerationRequest(())
    tokenizer = session.tokenizer
    return text, read_options(tokenizer.size, tuple(tokenizer.encode(text)), given, DEFAULTS)


def read_text(value: Any, name: str) -> str:
    """The string in a text field's array. Raises `InvalidInput` for lone surrogates."""
    text = str(value.item())
    check_unicode(text, name)
    return text


def check_unicode(text: str, name: str) -> None:
    """Raises `InvalidInput` for half of a surrogate pair, which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"The text in {name!r} is not valid Unicode: half of a surrogate pair at character"
            f" {error.start}.",
            hint="Send whole characters.",
            field=name,
            expected="valid Unicode",
            got=repr(text[error.start]),
        ) from error


def encode_classified(typed: TypedAccess, item: Classified) -> dict[str, object]:
    """The label with all probabilities, and how many tokens were read: all of the text."""
    tensor = next(iter(typed.outputs.axes))
    encoded = typed.outputs.encode({tensor: np.asarray(item.scores, np.float32)[None]})
    for value in encoded.values():
        if isinstance(value, dict):
            value["tokens_read"] = item.tokens
    return encoded
