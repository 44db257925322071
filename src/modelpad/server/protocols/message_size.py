"""Estimates the memory of a parsed protobuf message from its bytes.

A message with two bytes an element grows up to a hundredfold when it is parsed, so its bytes are
scanned first: every field is counted, nested messages are entered, nothing is copied.
Knows nothing of gRPC.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from modelpad.errors import InvalidInput, TooLarge
from modelpad.server.protocols.protobuf import load_message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelpad.server.protocols.protobuf import Descriptor, FieldDescriptor

MAX_FIELDS = 65_536
MAX_DEPTH = 16
# A separate field: its place in the parsed message, and its Python object once it is read.
FIELD_BYTES = 320
# An element of a packed field: parsed (with room to grow), then as a number in an array.
VARINT_BYTES = 32
FIXED_COPIES = 2
# Bytes and text: in the parsed message, then as a Python object.
TEXT_COPIES = 2

SMALL_BYTES = 256  # below this the elements are not counted one by one

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # protobuf's wire types
_FIXED = {FIXED64: 8, FIXED32: 4}
_SCALARS = {
    "TYPE_DOUBLE": FIXED64,
    "TYPE_FIXED64": FIXED64,
    "TYPE_SFIXED64": FIXED64,
    "TYPE_FLOAT": FIXED32,
    "TYPE_FIXED32": FIXED32,
    "TYPE_SFIXED32": FIXED32,
}

# What a field holds: another message's fields, or the wire type of its values.
Fields = dict[int, "Fields | int"]


def estimate_bytes(data: bytes, message: str) -> int:
    """The memory that `data` takes as a parsed message of that full name, in bytes.

    Raises:
        InvalidInput: it is not a message, or messages are nested more than `MAX_DEPTH` deep.
        TooLarge: it has more than `MAX_FIELDS` fields.
    """
    fields = _list_fields(message)
    total = FIELD_BYTES
    left = MAX_FIELDS
    waiting = [(0, len(data), fields, 1)]
    while waiting:
        place, end, fields, depth = waiting.pop()
        while place < end:
            left -= 1
            if left < 0:
                raise TooLarge(
                    f"The message has more than {MAX_FIELDS:,} fields.",
                    hint="Send elements as raw_input_contents or tensor_content.",
                    limit=MAX_FIELDS,
                )
            tag = data[place]
            place += 1
            if tag >= 0x80:
                tag, place = _read_varint(data, place - 1, end)
            wire = tag & 7
            total += FIELD_BYTES
            if wire == LENGTH:
                if place < end and data[place] < 0x80:
                    size = data[place]
                    place += 1
                else:
                    size, place = _read_varint(data, place, end)
                if size > end - place:
                    raise _broken()
                held = fields.get(tag >> 3, LENGTH)
                if held == LENGTH:
                    total += size * TEXT_COPIES
                elif isinstance(held, dict):
                    if depth == MAX_DEPTH:
                        raise InvalidInput(f"Messages are nested more than {MAX_DEPTH} deep.")
                    waiting.append((place, place + size, held, depth + 1))
                else:
                    total += _weigh_packed(data, place, size, held)
                place += size
            elif wire == VARINT:
                _, place = _read_varint(data, place, end)
            elif wire in _FIXED:
                place += _FIXED[wire]
            else:
                raise _broken()
        if place != end:
            raise _broken()
    return total


def _weigh_packed(data: bytes, place: int, size: int, held: int) -> int:
    if held != VARINT:
        return size * FIXED_COPIES
    if size < SMALL_BYTES:
        return size * VARINT_BYTES
    values = np.frombuffer(data, np.uint8, size, place)
    return VARINT_BYTES * int(np.count_nonzero(values < 0x80))


def _read_varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    """The number at `place`, and where the next begins."""
    if place >= end:
        raise _broken()
    value = data[place]
    place += 1
    if value < 0x80:
        return value, place
    value &= 0x7F
    for shift in range(7, 70, 7):
        if place >= end:
            break
        part = data[place]
        place += 1
        value |= (part & 0x7F) << shift
        if part < 0x80:
            return value, place
    raise _broken()


def _broken() -> InvalidInput:
    return InvalidInput("The request is not a protobuf message of its type.")


@cache
def _list_fields(message: str) -> Fields:
    known: dict[str, Fields] = {}
    return _describe(load_message(message).DESCRIPTOR, known)


def _describe(descriptor: Descriptor, known: dict[str, Fields]) -> Fields:
    if descriptor.full_name in known:  # messages may hold messages of their own kind
        return known[descriptor.full_name]
    fields: Fields = {}
    known[descriptor.full_name] = fields
    kinds: Mapping[int, str] = _name_types(type(descriptor.fields[0])) if descriptor.fields else {}
    for field in descriptor.fields:
        kind = kinds[field.type]
        if kind == "TYPE_MESSAGE":
            fields[field.number] = _describe(field.message_type, known)
        elif kind in ("TYPE_STRING", "TYPE_BYTES"):
            fields[field.number] = LENGTH
        else:
            fields[field.number] = _SCALARS.get(kind, VARINT)
    return fields


def _name_types(field: type[FieldDescriptor]) -> dict[int, str]:
    return {getattr(field, name): name for name in dir(field) if name.startswith("TYPE_")}
