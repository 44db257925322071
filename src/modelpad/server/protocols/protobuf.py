"""gRPC's messages, made at run time from `protos/protos.binpb`, and fields written by hand.

They have a descriptor pool of their own, so that they do not clash with TensorFlow's or Triton's
messages of the same names in one program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from modelpad.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    import numpy as np

    from modelpad.server.protocols.grpc_messages import Message

FILE = Path(__file__).parent / "protos" / "protos.binpb"
CHUNK = 16_384  # elements that are Python objects at once


class FieldDescriptor(Protocol):
    """A field of a message, as protobuf describes it."""

    number: int
    type: int
    message_type: Descriptor


class Descriptor(Protocol):
    """The fields of a message, as protobuf describes them."""

    full_name: str
    fields: Sequence[FieldDescriptor]
    fields_by_name: Mapping[str, FieldDescriptor]


class MessageClass(Protocol):
    """The class of a message. Its instances are known by the protocols in `grpc_messages`."""

    DESCRIPTOR: Descriptor

    def __call__(self, **fields: object) -> Any: ...

    def FromString(self, data: bytes) -> Any:
        """A message from its bytes."""


@cache
def load_message(name: str) -> MessageClass:
    """The class of a message by its full name, `inference.ModelInferRequest`.

    Raises `MissingExtra` without the `grpc` extra.
    """
    try:
        from google.protobuf import message_factory
    except ImportError as error:
        raise MissingExtra("protobuf", extra="grpc") from error
    found: MessageClass = message_factory.GetMessageClass(_load_pool().FindMessageTypeByName(name))
    return found


def make_inference(kind: str, /, **fields: object) -> Message:
    """A message of the Open Inference Protocol."""
    made: Message = load_message(f"inference.{kind}")(**fields)
    return made


def parse_message(name: str, data: bytes) -> Any:
    """A message from its bytes; see `grpc_messages`. Raises `InvalidInput` for other bytes."""
    from google.protobuf.message import DecodeError

    try:
        return load_message(name).FromString(data)
    except DecodeError as error:
        raise InvalidInput(f"The request is not a {name}.") from error


def write_field(number: int, *parts: bytes) -> list[bytes]:
    """A field of bytes, of a message or of packed numbers, in parts: nothing is copied."""
    head = _write_varint(number << 3 | 2) + _write_varint(sum(map(len, parts)))
    return [head, *parts]


def write_values(message: str, field: str, array: NDArray[np.generic]) -> Iterator[bytes]:
    """A repeated field of `message` with the array's values, in parts that may simply be joined.

    Numbers of fixed size are copied as they are; others pass through Python a chunk at a time.
    """
    kind = load_message(message)
    number = kind.DESCRIPTOR.fields_by_name[field].number
    flat = array.reshape(-1)
    if array.dtype.kind == "f":
        yield from write_field(number, flat.astype(flat.dtype.newbyteorder("<")).tobytes())
    elif array.dtype.kind == "b":
        yield from write_field(number, flat.tobytes())
    else:
        for start in range(0, len(flat), CHUNK):
            values = flat[start : start + CHUNK].tolist()
            if array.dtype.kind in "OSU":
                values = [v if isinstance(v, bytes) else str(v).encode("utf-8") for v in values]
            chunk: Message = kind(**{field: values})
            yield chunk.SerializeToString()


def load_enum(name: str) -> dict[str, int]:
    """The numbers of an enumeration by its full name."""
    found = _load_pool().FindEnumTypeByName(name)
    return {value.name: value.number for value in found.values}


def _write_varint(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


@cache
def _load_pool() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    files = descriptor_pb2.FileDescriptorSet.FromString(FILE.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool
