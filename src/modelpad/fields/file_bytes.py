"""The bytes of a file in a request: bytes as they are, base64, `{"b64": ...}` or a `data:` URL."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

import msgspec

from modelpad.errors import InvalidInput


class FileKind(msgspec.Struct, frozen=True):
    """What a field calls its files: a noun, their usual media type, and what it expects."""

    noun: str
    media_type: str
    expected: str


def read_bytes(value: object, kind: FileKind, *, field: str) -> bytes:
    """`value` itself if it is bytes, else decoded from base64 or a `data:` URL.

    Raises `InvalidInput` if it is none of these, or empty.
    """
    if isinstance(value, dict) and set(value) == {"b64"}:
        value = value["b64"]
    if isinstance(value, str):
        body = _decode_text(value, kind, field)
    elif isinstance(value, bytes | bytearray | memoryview):
        body = bytes(value)
    else:
        raise InvalidInput(
            f"The field {field!r} is not a {kind.noun}.",
            hint="In JSON, send it as a data: URL:"
            f' {{"{field}": "data:{kind.media_type};base64,..."}}',
            field=field,
            expected=kind.expected,
            got=type(value).__name__,
        )
    if not body:
        raise InvalidInput(
            f"The field {field!r} is empty (0 bytes).",
            hint=f"Send the {kind.noun}'s bytes.",
            field=field,
            expected=kind.expected,
            got="0 bytes",
        )
    return body


def describe_bytes(body: bytes) -> str:
    """The length and beginning of some bytes, for an error."""
    head = body[:16]
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return f"{len(body)} bytes of text beginning {head.decode('ascii')!r}"
    return f"{len(body)} bytes beginning {head.hex(' ')}"


def _decode_text(text: str, kind: FileKind, field: str) -> bytes:
    payload, is_base64 = text, True
    if text[:5].lower() == "data:":
        head, comma, payload = text.partition(",")
        if not comma:
            raise _invalid_text(kind, field, "a data: URL without a comma")
        is_base64 = head.lower().endswith(";base64")
    if not is_base64:
        return unquote_to_bytes(payload)
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid_text(kind, field, f"text that is not base64 ({error})") from error


def _invalid_text(kind: FileKind, field: str, got: str) -> InvalidInput:
    return InvalidInput(
        f"The field {field!r} contains {got}.",
        hint="Send the file's bytes as base64 or a data: URL.",
        field=field,
        expected=kind.expected,
        got=got,
    )
