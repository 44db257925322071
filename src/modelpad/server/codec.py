"""What a protocol is to the rest of the server: `read` a request, `write` its response."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple

import msgspec

from modelpad.server.models import ServedModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[np.generic]]

# By name: arrays of a batch for tensors, JSON values of one item for field values.
Outputs = dict[str, Any]
Message = TypeVarTuple("Message")
Options = TypeVar("Options")
Written = TypeVar("Written")


class Inputs(msgspec.Struct, Generic[Options], kw_only=True):
    """What a protocol read from a request.

    Either `tensors`, which fit the graph of the model's `signature`, or `values`: one item's field
    values, not decoded yet. `held_bytes` is the memory that the request reserved for them;
    `options` is what `write` needs from the request.
    """

    options: Options
    tensors: Arrays | None = None
    values: Mapping[str, object] | None = None
    signature: str = ""
    timeout_s: float | None = None
    held_bytes: int = 0


class Codec(msgspec.Struct, Generic[*Message, Options, Written], frozen=True):
    """A protocol: how it reads a request's inputs, and how it writes its response."""

    read: Callable[[ServedModel, *Message], Inputs[Options]]
    write: Callable[[ServedModel, Inputs[Options], Outputs], Awaitable[Written]]
