"""Walks a protobuf message by its wire format, without its schema and without copying it.

https://protobuf.dev/programming-guides/encoding/. Enough of it to find the messages, texts and
bytes inside an ONNX graph, which may be larger than memory, in a process without `onnx`.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 = range(6)
MAX_SHIFT = 63


def walk(data: mmap.mmap | bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a message that have a length: the number of each, where it starts and ends.

    Raises `ValueError` for bytes that are not a message.
    """
    at = start
    while at < end:
        tag, at = read_varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            _, at = read_varint(data, at, end)
        elif wire in (FIXED64, FIXED32):
            at += 8 if wire == FIXED64 else 4
        elif wire == BYTES:
            size, at = read_varint(data, at, end)
            if at + size > end:
                raise ValueError("a field is longer than its message")
            yield number, at, at + size
            at += size
        else:
            raise ValueError(f"a field is of the unknown kind {wire}")
    if at != end:
        raise ValueError("a message ends within a field")


def read_varint(data: mmap.mmap | bytes, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends. Raises `ValueError`."""
    value = shift = 0
    while at < end and shift <= MAX_SHIFT:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number does not end")
