"""One request in the engine: its inputs, its chunks, and how their outputs are joined."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from modelpad.engine.batching import QueuedRequest

if TYPE_CHECKING:
    from modelpad.fields.arrays import Arrays

# A caller's own object, of any type, passed on to the records of its batches. Traces use it.
CALLER: ContextVar[Any] = ContextVar("caller", default=None)


class NotSplittable(Exception):
    """The outputs of chunks have different shapes: the request has to run as a whole."""


class InferenceRequest(QueuedRequest, eq=False, kw_only=True):
    """A request of `size` items, run in chunks of at most `chunk_size`, or as a whole if that is 0.

    `prepare` decodes the inputs and `finish` encodes the outputs, both on an engine thread. `items`
    is the size of the next chunk, `done` the number of items that have run. `signature` is the
    model's signature to run; "" for the main one.
    """

    prepare: Callable[[], Arrays] = dict
    finish: Callable[[Arrays], object] = dict
    future: asyncio.Future[object]
    signature: str = ""
    chunk_size: int = 0
    size: int = 0
    done: int = 0
    inputs: Arrays | None = None
    outputs: Arrays | None = None
    caller: object = msgspec.field(default_factory=CALLER.get)

    def __post_init__(self) -> None:
        self.size = self.items
        if self.chunk_size:
            self.items = min(self.chunk_size, self.size)

    @property
    def is_split(self) -> bool:
        """Whether it runs in more than one chunk."""
        return self.items < self.size

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody is waiting for the result any more."""
        return self.cancelled or self.future.done()

    def next_chunk(self) -> Arrays:
        """The inputs of the next chunk, not copied."""
        inputs = self.inputs or {}
        if not self.is_split:
            return inputs
        return {name: array[self.done : self.done + self.items] for name, array in inputs.items()}

    def add_outputs(self, outputs: Arrays) -> Arrays | None:
        """Adds the outputs of a chunk. Returns all outputs after the last chunk, else None.

        Raises `NotSplittable` if they cannot be joined.
        """
        import numpy as np

        if not self.is_split:
            return outputs
        if self.outputs is None:
            self.outputs = {
                name: np.empty((self.size, *array.shape[1:]), array.dtype)
                for name, array in outputs.items()
            }
        for name, joined in self.outputs.items():
            array = outputs[name]
            if array.shape[1:] != joined.shape[1:] or array.dtype != joined.dtype:
                raise NotSplittable
            joined[self.done : self.done + self.items] = array
        self.done += self.items
        self.items = min(self.chunk_size, self.size - self.done)
        return None if self.done < self.size else self.outputs

    def restart_whole(self) -> None:
        """Starts again, in a single chunk."""
        self.chunk_size, self.done, self.items, self.outputs = 0, 0, self.size, None
