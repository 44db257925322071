"""Smaller graphs: int8 and fp16, by ONNX Runtime's own tools.

int8 is static (QDQ, calibrated on the samples) where the graph has convolutions, and dynamic
elsewhere: weights in 8 bits, activations measured as they come.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelpad.convert.graph import count_operators, load_onnx, save_graph
from modelpad.errors import ConversionFailed, UsageError, first_line
from modelpad.runtime import load_onnxruntime

KINDS = ("int8", "fp16")
# How far a smaller graph may be from the model by default, as a share of the largest number.
TOLERANCES = {"int8": 0.2, "fp16": 0.02}


def quantize_graph(model: Any, kind: str, samples: Sequence[dict[str, Any]]) -> Any:
    """The graph with smaller weights; `samples` are decoded, without a batch axis.

    Raises:
        UsageError: `kind` is neither int8 nor fp16.
        ConversionFailed: ONNX Runtime's tools cannot do it for this graph.
    """
    if kind not in KINDS:
        raise UsageError(f"--quantize {kind} is unknown.", hint=f"It is {' or '.join(KINDS)}.")
    try:
        with _quiet():
            return _to_half(model) if kind == "fp16" else _to_int8(model, samples)
    except Exception as error:
        raise ConversionFailed(
            f"The graph cannot be quantized to {kind}: {first_line(error, 200)}",
            hint="Import it without --quantize.",
        ) from error


def _to_half(model: Any) -> Any:
    return load_onnxruntime("transformers.float16").convert_float_to_float16(
        model, keep_io_types=True
    )


def _to_int8(model: Any, samples: Sequence[dict[str, Any]]) -> Any:
    tools, onnx = load_onnxruntime("quantization"), load_onnx()
    with tempfile.TemporaryDirectory() as folder:
        before, ready, after = (Path(folder) / f"{name}.onnx" for name in ("in", "ready", "out"))
        save_graph(model, before)
        try:
            tools.shape_inference.quant_pre_process(before, ready, skip_symbolic_shape=True)
        except Exception:
            ready = before
        if count_operators(model).get("Conv"):
            reader, form = _make_reader(samples), tools.QuantFormat.QDQ
            tools.quantize_static(ready, after, reader, quant_format=form, per_channel=True)
        else:
            tools.quantize_dynamic(ready, after)
        return onnx.load(after)


def _make_reader(samples: Sequence[dict[str, Any]]) -> Any:
    base = load_onnxruntime("quantization").CalibrationDataReader

    class Reader(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self.left = iter(samples)

        def get_next(self) -> dict[str, Any] | None:
            item = next(self.left, None)
            return None if item is None else {name: np.stack([v]) for name, v in item.items()}

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tools log advice through the root logger; it is not for our users."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
