"""Exports Keras's masked LSTM and GRU for sequences of any length.

Keras loops over the steps, which an export would unroll for one length. A masked step leaves the
state as it is. So we move the other steps to the front, run the operator without a mask, and put
each of its outputs where its step was. If Keras's internals change, the loops are exported; the
graph is checked in either case.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    Loop = Callable[..., tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]]


@contextlib.contextmanager
def masked_recurrence() -> Iterator[None]:
    """Makes masked LSTM and GRU layers run on sequences without gaps during an export."""
    import keras

    loops: dict[type, Loop] = {}
    for kind in (keras.layers.LSTM, keras.layers.GRU):
        loop = getattr(kind, "inner_loop", None)
        if loop is not None:
            loops[kind] = loop
            kind.inner_loop = _without_gaps(loop)
    try:
        yield
    finally:
        for kind, loop in loops.items():
            kind.inner_loop = loop  # type: ignore[attr-defined]


def _without_gaps(loop: Loop) -> Loop:
    def inner_loop(
        layer: object,
        sequences: object,
        initial_state: object,
        mask: object,
        training: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        masks = mask if isinstance(mask, list | tuple) else [mask]
        if masks[0] is None or not _is_simple(layer):
            return loop(layer, sequences, initial_state, mask, training)
        return _run_masked(loop, layer, sequences, initial_state, masks[0])

    return inner_loop


def _is_simple(layer: object) -> bool:
    """Whether the fused operator does what the layer does, and its final state is not needed."""
    from keras import activations

    cell = getattr(layer, "cell", None)
    return (
        getattr(cell, "activation", None) is activations.tanh
        and getattr(cell, "recurrent_activation", None) is activations.sigmoid
        and bool(getattr(cell, "use_bias", False))
        and bool(getattr(cell, "reset_after", True))
        and not getattr(layer, "return_state", True)
        and not getattr(layer, "stateful", True)
    )


def _run_masked(
    loop: Loop, layer: object, sequences: object, initial_state: object, mask: object
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """(batch, units), (batch, steps, units) and states, for a mask (batch, steps)."""
    import torch

    backend = importlib.import_module("keras.src.backend")
    values = backend.convert_to_tensor(sequences)
    valid = backend.convert_to_tensor(mask).to(torch.bool).reshape(values.shape[0], -1)
    if getattr(layer, "go_backwards", False):
        values, valid = torch.flip(values, [1]), torch.flip(valid, [1])
    count = torch.cumsum(valid.to(torch.int64), 1)
    last = torch.full_like(count, values.shape[1])  # a place that is never read
    places = torch.where(valid, count - 1, last)
    spare = torch.zeros_like(values[:, :1])
    packed = torch.cat([torch.zeros_like(values), spare], 1)
    packed = packed.scatter(1, places.unsqueeze(2).expand_as(values), values)
    before = _set(layer, go_backwards=False, return_sequences=True)
    try:
        _, outputs, states = loop(layer, packed, initial_state, None, False)
    finally:
        _set(layer, **before)
    index = torch.clamp(count - 1, min=0).unsqueeze(2).expand(-1, -1, outputs.shape[2])
    spread = outputs.gather(1, index)
    shown = valid if getattr(layer, "zero_output_for_mask", False) else count > 0
    spread = torch.where(shown.unsqueeze(2), spread, torch.zeros_like(spread))
    return spread[:, -1], spread, states


def _set(layer: object, **values: bool) -> dict[str, bool]:
    """Sets attributes of a layer; returns what they were."""
    before = {name: bool(getattr(layer, name)) for name in values}
    for name, value in values.items():
        setattr(layer, name, value)
    return before
