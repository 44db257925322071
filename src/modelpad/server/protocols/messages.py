"""gRPC's messages, made at run time from `protos/protos.binpb`.

They live in a pool of their own, so that a program that also holds TensorFlow's or Triton's own
messages of the same names is not in the way.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from modelpad.errors import MissingExtra

FILE = Path(__file__).parent / "protos" / "protos.binpb"


@cache
def load_message(name: str) -> Any:
    """The class of a message by its full name, `inference.ModelInferRequest`.

    Raises `MissingExtra` without the `grpc` extra.
    """
    try:
        from google.protobuf import message_factory
    except ImportError as error:
        raise MissingExtra("protobuf", extra="grpc") from error
    return message_factory.GetMessageClass(_load_pool().FindMessageTypeByName(name))


def read_headers(context: Any) -> dict[str, str]:
    """The metadata of a call, which is to gRPC what headers are to HTTP."""
    given = context.invocation_metadata() or ()
    return {key: value for key, value in given if isinstance(value, str)}


def load_enum(name: str) -> dict[str, int]:
    """The numbers of an enumeration by its full name."""
    found = _load_pool().FindEnumTypeByName(name)
    return {value.name: value.number for value in found.values}


@cache
def _load_pool() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    files = descriptor_pb2.FileDescriptorSet.FromString(FILE.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool
