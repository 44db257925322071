"""The protocol between a server and the process that runs a model in its own framework.

A frame is two little-endian lengths (4 bytes for the header's, 8 for the body's), a header of
MessagePack, and the body: the tensors one after the other, numbers as raw little-endian bytes and
texts as MessagePack lists. Nothing in a frame is code, and all sizes are limited.

The server sends a `Call`. The process sends `Ready` once, then a `Result` or a `Failure` for each
call; a `Failure` in place of `Ready` says why it cannot start.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from modelpad.fields.arrays import Array, Arrays

LENGTHS = struct.Struct("<IQ")
MAX_HEADER_BYTES = 1 << 20
MAX_BODY_BYTES = 8 << 30
MAX_SIDES = 32
TEXT = "string"
NUMBERS = frozenset(
    {
        *("bool", "float16", "float32", "float64", "complex64", "complex128"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    }
)


class FrameInvalid(Exception):
    """A frame that is not valid, or larger than allowed."""


class Part(msgspec.Struct, frozen=True):
    """A tensor in the body of a frame."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


class Declared(msgspec.Struct, frozen=True):
    """A tensor as the model declares it; a side that is free is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Call(msgspec.Struct, frozen=True, tag="call"):
    """Run the model on the tensors in the body; `outputs` are those wanted."""

    outputs: tuple[str, ...]
    tensors: tuple[Part, ...]


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The model is loaded."""

    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]


class Result(msgspec.Struct, frozen=True, tag="result"):
    """The outputs, in the body."""

    tensors: tuple[Part, ...]


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """An error: the name of its class, what is wrong, and what to do.

    `package` and `extra` name a missing dependency.
    """

    kind: str
    message: str
    hint: str = ""
    package: str = ""
    extra: str = ""


Header = Call | Ready | Result | Failure
_decoder = msgspec.msgpack.Decoder(Header)
_texts = msgspec.msgpack.Decoder(list[str])


def send_frame(connection: socket.socket, header: Header, body: Sequence[memoryview] = ()) -> None:
    """Sends a frame. Raises `OSError` if the connection is broken, `FrameInvalid` if too large."""
    head = msgspec.msgpack.encode(header)
    size = sum(part.nbytes for part in body)
    if len(head) > MAX_HEADER_BYTES or size > MAX_BODY_BYTES:
        raise FrameInvalid(f"{size:,} bytes are too many; the limit is {MAX_BODY_BYTES:,}")
    connection.sendall(LENGTHS.pack(len(head), size) + head)
    for part in body:
        if part.nbytes:
            connection.sendall(part)


def receive_frame(connection: socket.socket) -> tuple[Header, Arrays]:
    """The next frame, with its tensors by name.

    Raises:
        EOFError: the other side has closed the connection.
        FrameInvalid: the frame is not valid.
        OSError: the connection is broken.
    """
    head_bytes, body_bytes = LENGTHS.unpack(_receive(connection, LENGTHS.size))
    if head_bytes > MAX_HEADER_BYTES or body_bytes > MAX_BODY_BYTES:
        raise FrameInvalid(f"a frame declares {head_bytes:,} and {body_bytes:,} bytes")
    try:
        header = _decoder.decode(_receive(connection, head_bytes))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameInvalid(f"a header is not valid: {error}") from error
    parts = header.tensors if isinstance(header, Call | Result) else ()
    if sum(part.bytes for part in parts) != body_bytes:
        raise FrameInvalid("the body does not have the size of its tensors")
    return header, {part.name: _receive_array(connection, part) for part in parts}


def pack_arrays(arrays: Mapping[str, Array]) -> tuple[tuple[Part, ...], list[memoryview]]:
    """The parts and the body for some tensors. Raises `FrameInvalid` for other kinds of values."""
    parts, body = [], []
    for name, array in arrays.items():
        dtype = TEXT if array.dtype.kind in "OSU" else array.dtype.name
        if dtype == TEXT:
            data = memoryview(msgspec.msgpack.encode(_read_texts(name, array)))
        elif dtype in NUMBERS:
            data = _view_bytes(array)
        else:
            raise FrameInvalid(f"the tensor {name!r} is {array.dtype}, which is not supported")
        parts.append(Part(name, dtype, array.shape, data.nbytes))
        body.append(data)
    return tuple(parts), body


def _read_texts(name: str, array: Array) -> list[str]:
    texts = []
    for value in array.reshape(-1).tolist():
        if not isinstance(value, str | bytes):
            kind = type(value).__name__
            raise FrameInvalid(f"the tensor {name!r} has a {kind}, which is not a text")
        texts.append(value if isinstance(value, str) else value.decode("utf-8"))
    return texts


def _view_bytes(array: Array) -> memoryview:
    import numpy as np

    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _receive_array(connection: socket.socket, part: Part) -> Array:
    import numpy as np

    if len(part.shape) > MAX_SIDES or any(side < 0 for side in part.shape):
        raise FrameInvalid(f"the tensor {part.name!r} has an invalid shape")
    count = math.prod(part.shape)
    if part.dtype == TEXT:
        return _read_text_array(_receive(connection, part.bytes), part, count)
    if part.dtype not in NUMBERS or count * np.dtype(part.dtype).itemsize != part.bytes:
        raise FrameInvalid(f"the tensor {part.name!r} does not have the size of its shape")
    flat = np.empty(part.bytes, np.uint8)
    _receive_into(connection, flat.data)
    array: Array = flat.view(np.dtype(part.dtype).newbyteorder("<")).reshape(part.shape)
    return array.astype(part.dtype, copy=False)


def _read_text_array(data: bytearray, part: Part, count: int) -> Array:
    import numpy as np

    try:
        texts = _texts.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameInvalid(f"the tensor {part.name!r} is not valid: {error}") from error
    if len(texts) != count:
        raise FrameInvalid(f"the tensor {part.name!r} does not have the size of its shape")
    array = np.empty(count, object)
    array[:] = texts
    return array.reshape(part.shape)


def _receive(connection: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    _receive_into(connection, memoryview(data))
    return data


def _receive_into(connection: socket.socket, view: memoryview) -> None:
    while view.nbytes:
        count = connection.recv_into(view)
        if not count:
            raise EOFError("the connection is closed")
        view = view[count:]
