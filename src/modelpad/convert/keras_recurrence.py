"""Keras's LSTM and GRU as one ONNX operator each, instead of steps unrolled for one length.

Keras on PyTorch has a fused path for graphics cards alone, and loops over the steps elsewhere. The
fused path computes the same on any device and exports as one operator that takes any length.
Where Keras changes inside, the loops are exported as before; parity decides in either case.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def fast_recurrence() -> Iterator[None]:
    """Has LSTM and GRU layers take the fused path while an export runs."""
    try:
        # By name: the package has a function of the module's name.
        room: Any = importlib.import_module("keras.src.backend.torch.rnn")
        looped = {name: getattr(room, name) for name in ("_fallback_lstm", "_fallback_gru")}
        fused_lstm, fused_gru = room._cudnn_lstm, room._cudnn_gru
    except (ImportError, AttributeError):
        yield
        return

    def lstm(
        inputs: Any, hidden: Any, cell: Any, kernel: Any, recurrent: Any, bias: Any,
        activation: Any, gates: Any, return_sequences: bool, batch_first: bool,
    ) -> Any:  # fmt: skip
        if not (_usual(activation, gates) and batch_first and bias is not None):
            return looped["_fallback_lstm"](
                inputs, hidden, cell, kernel, recurrent, bias,
                activation, gates, return_sequences, batch_first,
            )  # fmt: skip
        return fused_lstm(
            inputs, hidden, cell, kernel, recurrent, bias, return_sequences, inputs.device
        )

    def gru(
        inputs: Any, hidden: Any, kernel: Any, recurrent: Any, bias: Any,
        activation: Any, gates: Any, return_sequences: bool,
    ) -> Any:  # fmt: skip
        if not (_usual(activation, gates) and bias is not None):
            return looped["_fallback_gru"](
                inputs, hidden, kernel, recurrent, bias, activation, gates, return_sequences
            )
        return fused_gru(inputs, hidden, kernel, recurrent, bias, return_sequences, inputs.device)

    room._fallback_lstm, room._fallback_gru = lstm, gru
    try:
        yield
    finally:
        for name, function in looped.items():
            setattr(room, name, function)


def _usual(activation: Any, gates: Any) -> bool:
    from keras import activations

    return activation is activations.tanh and gates is activations.sigmoid
