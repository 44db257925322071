"""Iterates over a protobuf message by its wire format, without a schema and without copying.

See https://protobuf.dev/programming-guides/encoding/. This covers what is needed to find messages,
strings and bytes in an ONNX graph that may be larger than memory, without the `onnx` package.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 = range(6)
MAX_SHIFT = 63


def walk(data: mmap.mmap | bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The length-delimited fields of a message: number, start and end of each.

    Raises `ValueError` if the bytes are not a message.
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
            raise ValueError(f"a field has the unsupported wire type {wire}")
    if at != end:
        raise ValueError("a message ends inside a field")


def read_varint(data: mmap.mmap | bytes, at: int, end: int) -> tuple[int, int]:
    """A varint (seven bits per byte) and the position after it. Raises `ValueError`."""
    value = shift = 0
    while at < end and shift <= MAX_SHIFT:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a varint is not terminated")
