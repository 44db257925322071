"""Exports Keras's LSTM and GRU as one ONNX operator each, for sequences of any length.

Keras on PyTorch uses a fused implementation on GPUs, and otherwise loops over the steps, which an
export would unroll for one length. The fused implementation works on any device. If Keras's
internals change, the loops are exported; the parity check decides in either case.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    # Tensors, or a tuple of them: what Keras passes on is not documented.
    Result = tuple[torch.Tensor, ...]


@contextlib.contextmanager
def fused_recurrence() -> Iterator[None]:
    """Makes LSTM and GRU layers use the fused implementation during an export."""
    try:
        # By name, because the package also has a function called rnn.
        backend: ModuleType = importlib.import_module("keras.src.backend.torch.rnn")
        looped = {name: getattr(backend, name) for name in ("_fallback_lstm", "_fallback_gru")}
        fused_lstm, fused_gru = backend._cudnn_lstm, backend._cudnn_gru
    except (ImportError, AttributeError):
        yield
        return

    def lstm(
        inputs: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor, kernel: torch.Tensor,
        recurrent: torch.Tensor, bias: torch.Tensor | None, activation: object, gates: object,
        return_sequences: bool, batch_first: bool,
    ) -> Result:  # fmt: skip
        if not (_is_default(activation, gates) and batch_first and bias is not None):
            result: Result = looped["_fallback_lstm"](
                inputs, hidden, cell, kernel, recurrent, bias,
                activation, gates, return_sequences, batch_first,
            )  # fmt: skip
            return result
        result = fused_lstm(
            inputs, hidden, cell, kernel, recurrent, bias, return_sequences, inputs.device
        )
        return result

    def gru(
        inputs: torch.Tensor, hidden: torch.Tensor, kernel: torch.Tensor,
        recurrent: torch.Tensor, bias: torch.Tensor | None, activation: object, gates: object,
        return_sequences: bool,
    ) -> Result:  # fmt: skip
        if not (_is_default(activation, gates) and bias is not None):
            result: Result = looped["_fallback_gru"](
                inputs, hidden, kernel, recurrent, bias, activation, gates, return_sequences
            )
            return result
        result = fused_gru(inputs, hidden, kernel, recurrent, bias, return_sequences, inputs.device)
        return result

    fused = {"_fallback_lstm": lstm, "_fallback_gru": gru}
    try:
        for name, function in fused.items():
            setattr(backend, name, function)
        yield
    finally:
        for name, function in looped.items():
            setattr(backend, name, function)


def _is_default(activation: object, gates: object) -> bool:
    from keras import activations

    return activation is activations.tanh and gates is activations.sigmoid
