"""One request in the engine: how it becomes arrays, its pieces, and how its outputs are joined."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelpad.engine.batching import Waiting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[np.generic]]

# Whatever a caller sets here comes back in the records of its batches; a trace is hung on it.
CALLER: ContextVar[Any] = ContextVar("caller", default=None)


class NotSplittable(Exception):
    """The outputs of pieces have different shapes: the request has to run as a whole."""


@dataclass(slots=True, eq=False)
class Work(Waiting):
    """A request of `size` items, run in pieces of at most `piece`; 0 is as a whole.

    `items` is how many the next batch takes of it.
    """

    prepare: Callable[[], Arrays] = dict
    finish: Callable[[Arrays], Any] = dict
    future: asyncio.Future[Any] = field(kw_only=True)
    piece: int = 0
    size: int = 0
    done: int = 0
    arrays: Arrays | None = None
    joined: Arrays | None = None
    caller: Any = field(default_factory=CALLER.get)

    def __post_init__(self) -> None:
        self.size = self.items
        if self.piece:
            self.items = min(self.piece, self.size)

    @property
    def is_split(self) -> bool:
        """Whether it is run in more than one piece."""
        return self.items < self.size

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.gone or self.future.done()

    def take_piece(self) -> Arrays:
        """The arrays of the next piece, not copied."""
        arrays = self.arrays or {}
        if not self.is_split:
            return arrays
        return {name: array[self.done : self.done + self.items] for name, array in arrays.items()}

    def add_outputs(self, outputs: Arrays) -> Arrays | None:
        """Takes the outputs of a piece; the outputs of all when it was the last, else None.

        Raises `NotSplittable` when they cannot be joined.
        """
        import numpy as np

        if not self.is_split:
            return outputs
        if self.joined is None:
            self.joined = {
                name: np.empty((self.size, *array.shape[1:]), array.dtype)
                for name, array in outputs.items()
            }
        for name, whole in self.joined.items():
            array = outputs[name]
            if array.shape[1:] != whole.shape[1:] or array.dtype != whole.dtype:
                raise NotSplittable
            whole[self.done : self.done + self.items] = array
        self.done += self.items
        self.items = min(self.piece, self.size - self.done)
        return None if self.done < self.size else self.joined

    def run_whole(self) -> None:
        """Begins anew, in one piece."""
        self.piece, self.done, self.items, self.joined = 0, 0, self.size, None
