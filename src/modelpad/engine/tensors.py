"""A graph's tensors, and the sizes that it is known to run with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from modelpad.errors import InvalidInput, first_line

if TYPE_CHECKING:
    from modelpad.fields.arrays import Array

MAX_KNOWN = 256


class TensorInfo(msgspec.Struct, frozen=True):
    """An input or output of a graph.

    `dtype` is NumPy's name or `string`. `shape` is as the graph declares it; a free side is -1.
    `batch_axis` is the axis that counts items; None if there is none.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    batch_axis: int | None = 0

    @property
    def item_shape(self) -> tuple[int, ...]:
        """The shape without the batch axis."""
        if self.batch_axis is None:
            return self.shape
        return (*self.shape[: self.batch_axis], *self.shape[self.batch_axis + 1 :])


class KnownShapes:
    """The sizes of free sides with which a graph has run.

    A graph that leaves a side open may still fail on most sizes. That is the client's mistake, not
    the server's, unless the graph has run with this very size before.
    """

    def __init__(self) -> None:
        self._free: tuple[tuple[str, int | None], ...] = ()
        self._known: set[tuple[tuple[int, ...], ...]] = set()

    def watch(self, inputs: Sequence[TensorInfo]) -> None:
        """Watches the inputs that have free sides, apart from the batch axis."""
        self._free = tuple((info.name, info.batch_axis) for info in inputs if -1 in info.item_shape)

    def add(self, batch: Mapping[str, Array]) -> None:
        """Notes that the graph has run with these inputs."""
        if self._free and len(self._known) < MAX_KNOWN:
            self._known.add(self._key(batch))

    def is_new(self, batch: Mapping[str, Array]) -> bool:
        """Whether the graph has free sides, and has never run with these sizes."""
        return bool(self._free) and self._key(batch) not in self._known

    def explain(self, batch: Mapping[str, Array], error: Exception) -> InvalidInput:
        """The error for inputs of a size that the graph cannot run with."""
        name = self._free[0][0]
        sizes = ", ".join(f"{each} {list(batch[each].shape)}" for each, _ in self._free)
        return InvalidInput(
            f"The model cannot run with {sizes}: {first_line(error, 200)}",
            hint="Send the size that the model was trained with.",
            field=name,
            expected="a size that the model supports",
            got=str(list(batch[name].shape)),
        )

    def _key(self, batch: Mapping[str, Array]) -> tuple[tuple[int, ...], ...]:
        return tuple(
            shape if axis is None else shape[:axis] + shape[axis + 1 :]
            for shape, axis in ((batch[name].shape, axis) for name, axis in self._free)
        )
