"""The states of texts between two pieces: recurrent ones, and caches that grow with the text.

A text's states are arrays without batch axis. They are joined for a run of the graph, and divided
again after it; nothing else knows whether they grow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from modelpad.bundle import SequenceModel, SequenceState

Array = NDArray[Any]
MIN_CAPACITY = 32


@dataclass(slots=True, eq=False)
class TextState:
    """The states after `length` tokens of one text.

    `arrays` are in the order of the manifest; the growing ones have room for more than `length`
    entries. `embedding` (E,) is the text's vector so far, for models that have one. `batch` are the
    outputs that the arrays are the row `row` of, if they are.
    """

    arrays: list[Array]
    length: int = 0
    embedding: Array | None = None
    batch: Mapping[str, Array] | None = None
    row: int = 0


class StateTable:
    """Starts, joins and divides the states of a model."""

    def __init__(self, model: SequenceModel) -> None:
        self._model = model
        self._fixed = [(at, s) for at, s in enumerate(model.states) if s.growing_axis is None]
        self._growing = [
            (at, s, s.growing_axis)
            for at, s in enumerate(model.states)
            if s.growing_axis is not None
        ]
        self._zeros = [_make_start(state) for state in model.states]

    def start(self) -> TextState:
        """The states before the first token."""
        return TextState([*self._zeros])

    def copy(self, state: TextState) -> TextState:
        """A copy that no later run changes, without spare room."""
        arrays = [array.copy() for array in state.arrays]
        for at, _, axis in self._growing:
            arrays[at] = _slice(state.arrays[at], axis, 0, state.length).copy()
        return TextState(arrays, state.length)

    def count_bytes(self, state: TextState) -> int:
        """The size of the arrays."""
        return sum(array.nbytes for array in state.arrays)

    def join(self, states: Sequence[TextState]) -> dict[str, Array]:
        """The graph's inputs for a batch of texts; growing states are padded with zeros."""
        joined: dict[str, Array] = {}
        batch = _find_batch(states)
        for at, state in self._fixed:
            if batch is not None and len(batch[state.output]) == len(states):
                joined[state.input] = batch[state.output]
            elif len(states) == 1:
                joined[state.input] = states[0].arrays[at][None]
            else:
                joined[state.input] = np.stack([each.arrays[at] for each in states])
        longest = max(each.length for each in states)
        for at, state, axis in self._growing:
            shape = list(state.shape)
            shape[axis] = longest
            padded = np.zeros((len(states), *shape), state.dtype)
            for row, each in enumerate(states):
                _slice(padded[row], axis, 0, each.length)[...] = _slice(
                    each.arrays[at], axis, 0, each.length
                )
            joined[state.input] = padded
        return joined

    def divide(
        self, outputs: Mapping[str, Array], states: Sequence[TextState], lengths: Sequence[int]
    ) -> None:
        """Replaces the states by the graph's outputs after pieces of these `lengths`."""
        fixed = {state.output: outputs[state.output] for _, state in self._fixed}
        for at, state in self._fixed:
            batch = fixed[state.output]
            for row, each in enumerate(states):
                each.arrays[at] = batch[row]
        longest = max(each.length for each in states)
        for at, state, axis in self._growing:
            batch = outputs[state.output]
            for row, (each, length) in enumerate(zip(states, lengths, strict=True)):
                new = _slice(batch[row], axis, longest, longest + length)
                each.arrays[at] = _append(each.arrays[at], each.length, new, axis)
        for row, (each, length) in enumerate(zip(states, lengths, strict=True)):
            each.length += length
            each.batch, each.row = fixed, row


def _find_batch(states: Sequence[TextState]) -> Mapping[str, Array] | None:
    """The outputs that these are the first rows of, in that order: then nothing is to be copied."""
    batch = states[0].batch
    is_whole = all(each.batch is batch and each.row == row for row, each in enumerate(states))
    return batch if is_whole else None


def _make_start(state: SequenceState) -> Array:
    return np.zeros([0 if side == -1 else side for side in state.shape], state.dtype)


def _slice(array: Array, axis: int, start: int, stop: int) -> Array:
    part: Array = array[(slice(None),) * axis + (slice(start, stop),)]
    return part


def _append(array: Array, length: int, new: Array, axis: int) -> Array:
    """`array` with `new` behind its first `length` entries; a larger one where it is full."""
    total = length + new.shape[axis]
    if total > array.shape[axis]:
        shape = list(array.shape)
        shape[axis] = max(MIN_CAPACITY, 2 * total)
        larger = np.empty(shape, array.dtype)
        _slice(larger, axis, 0, length)[...] = _slice(array, axis, 0, length)
        array = larger
    _slice(array, axis, length, total)[...] = new
    return array
