"""Turns the arguments of `modelpad predict` into the values of a model's inputs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.errors import InvalidInput, UsageError
from modelpad.foreign_json import Json, load_json

if TYPE_CHECKING:
    from modelpad.engine import ModelSession
    from modelpad.fields import Field
    from modelpad.fields.signature import Signature

STDIN = "-"
FILES = {"sketch": "an image", "image": "an image", "audio": "a WAV file"}  # kinds of files
PLAIN = ("text", "number", "choice", "blend")  # kinds whose value is the text itself
MAX_PATH = 4096


def wanted_inputs(signature: Signature, settings: Mapping[str, object]) -> list[Field]:
    """The inputs that an argument gives: those without a default, else the first."""
    wanted = [field for field in signature.required_inputs if field.name not in settings]
    if not signature.required_inputs:
        wanted = [field for field in signature.inputs if field.name not in settings][:1]
    return wanted


def read_values(
    session: ModelSession, given: str, settings: Mapping[str, object]
) -> dict[str, object]:
    """The input values for one argument; several are a JSON object. Raises `InvalidInput`.

    `settings` are other inputs. In an object, a picture or sound may be the path of its file.
    """
    wanted = wanted_inputs(session.signature, settings)
    if len(wanted) == 1:
        named = find_object(given, session.signature, wanted[0])
        if named is None:
            return {wanted[0].name: read_input(wanted[0], given), **settings}
        return open_files({**named, **settings}, session.signature, Path())
    value = read_object(read_json(read_text(given)), wanted, settings)
    return open_files(value, session.signature, Path())


def read_object(
    value: Json, wanted: Sequence[Field], settings: Mapping[str, object]
) -> dict[str, object]:
    """The inputs in a JSON object, or the only one by itself. Raises `InvalidInput`."""
    if isinstance(value, dict):
        return {**value, **settings}
    if len(wanted) == 1:
        return {wanted[0].name: value, **settings}
    names = ", ".join(field.name for field in wanted)
    raise InvalidInput(
        f"The model has several inputs: {names}.",
        hint="Give a JSON object that names them, or a .csv file with these columns.",
        expected=names,
        got=str(value)[:60],
    )


def find_object(given: str, signature: Signature, wanted: Field) -> dict[str, Json] | None:
    """The argument's JSON object, if it names inputs of the model, and the wanted one among them.

    A text that looks like one is a text: texts are not interpreted.
    """
    if wanted.kind == "text" or not given.lstrip().startswith("{"):
        return None
    try:
        value = load_json(given)
    except ValueError:
        return None
    names = {field.name for field in signature.inputs}
    return value if isinstance(value, dict) and wanted.name in value.keys() <= names else None


def open_files(
    values: Mapping[str, object], signature: Signature, folder: Path
) -> dict[str, object]:
    """The values with the contents of files in place of the paths of pictures and sounds.

    Paths are relative to the working folder, else to the `folder` of the file that names them.
    Raises `InvalidInput` for a file that cannot be read.
    """
    found = dict(values)
    for field in signature.inputs:
        value = found.get(field.name)
        if field.kind not in FILES or not isinstance(value, str) or len(value) > MAX_PATH:
            continue
        for path in (Path(value), folder / value):
            if not value.startswith("data:") and path.is_file():
                found[field.name] = read_field_file(field, str(path))
                break
    return found


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
        InvalidInput: a file cannot be read, or the value is not UTF-8 or JSON.
    """
    if field.kind in FILES:
        return sys.stdin.buffer.read() if given == STDIN else read_field_file(field, given)
    text = read_text(given)
    return text if field.kind in PLAIN else read_json(text)


def read_field_file(field: Field, given: str) -> bytes:
    """The file of a picture or sound. Raises `InvalidInput`."""
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"The file cannot be read: {error.strerror}.",
            hint=f"Give the path of {FILES[field.kind]}.",
            field=field.name,
            expected=f"the path of {FILES[field.kind]}",
            got=given,
        ) from error


def read_text(given: str) -> str:
    """The content of a file of that name, or the argument itself; `-` is standard input.

    Standard input loses one line break at its end, as `echo` adds one. Raises `InvalidInput`.
    """
    path = Path(given)
    try:
        if given == STDIN:
            return sys.stdin.buffer.read().decode("utf-8").removesuffix("\n").removesuffix("\r")
        return path.read_text("utf-8") if path.is_file() else given
    except UnicodeDecodeError as error:
        raise InvalidInput("The file is not valid UTF-8.", hint="Save it as UTF-8.") from error
    except OSError:
        return given


def read_json(text: str, hint: str = "Give a list such as [1, 2, 3].") -> Json:
    """The value of JSON. Raises `InvalidInput`."""
    try:
        return load_json(text)
    except ValueError as error:
        raise InvalidInput(f"The input is not valid JSON: {error}.", hint=hint) from error
