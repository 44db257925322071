"""Turns the arguments of `modelpad predict` into the values of a model's inputs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.errors import InvalidInput, UsageError
from modelpad.foreign_json import Json, load_json

if TYPE_CHECKING:
    from modelpad.engine import ModelSession
    from modelpad.fields import Field


def read_values(
    session: ModelSession, given: str, settings: Sequence[str] = ()
) -> dict[str, object]:
    """The input values for one argument; several are a JSON object. Raises `InvalidInput`.

    `settings` are other inputs as `NAME=VALUE`.
    """
    others = read_settings(settings)
    signature = session.signature
    wanted = [field for field in signature.required_inputs if field.name not in others]
    if not signature.required_inputs:
        wanted = [field for field in signature.inputs if field.name not in others][:1]
    names = [field.name for field in wanted]
    if len(names) == 1:
        return {names[0]: read_input(wanted[0], given), **others}
    value = read_json(read_text(given))
    if not isinstance(value, dict):
        raise InvalidInput(
            f"The model has several inputs: {', '.join(names)}.",
            hint="Give a JSON object that names them, or a .csv file with these columns.",
            expected=", ".join(names),
            got=given[:60],
        )
    return {**value, **others}


def read_settings(texts: Sequence[str]) -> dict[str, object]:
    """The inputs in `NAME=VALUE`. Raises `UsageError`."""
    found: dict[str, object] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise UsageError(f"--set {text} sets nothing.", hint="Write --set NAME=VALUE.")
        found[name] = value
    return found


def read_input(field: Field, given: str) -> object:
    """The value of the only input: a file's content, or the text or JSON itself.

    Raises:
        InvalidInput: an image file cannot be read, or the value is not UTF-8 or JSON.
    """
    if field.kind in ("sketch", "image"):
        try:
            return sys.stdin.buffer.read() if given == "-" else Path(given).read_bytes()
        except OSError as error:
            raise InvalidInput(
                f"The file cannot be read: {error.strerror}.",
                hint="Give the path of an image.",
                field=field.name,
                expected="the path of an image",
                got=given,
            ) from error
    text = read_text(given)
    return text if field.kind in ("text", "number", "choice", "blend") else read_json(text)


def read_text(given: str) -> str:
    """The content of a file of that name, or the argument itself; `-` is standard input.

    Raises `InvalidInput`.
    """
    path = Path(given)
    try:
        if given == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        return path.read_text("utf-8") if path.is_file() else given
    except UnicodeDecodeError as error:
        raise InvalidInput("The file is not valid UTF-8.", hint="Save it as UTF-8.") from error
    except OSError:
        return given


def read_json(text: str) -> Json:
    """The value of JSON. Raises `InvalidInput`."""
    try:
        return load_json(text)
    except ValueError as error:
        raise InvalidInput(
            f"The input is not valid JSON: {error}.", hint="Give a list such as [1, 2, 3]."
        ) from error
