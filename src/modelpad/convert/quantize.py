"""Quantizes graphs to int8 or fp16 with ONNX Runtime's tools.

int8 is static (QDQ, calibrated on the samples) for graphs with convolutions, otherwise dynamic:
activations are then quantized at run time.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelpad.convert.graph import count_operators, load_onnx, save_graph
from modelpad.errors import ConversionFailed, UsageError, first_line
from modelpad.fields.arrays import Arrays
from modelpad.runtime import load_onnxruntime

if TYPE_CHECKING:
    from onnx import ModelProto

KINDS = ("int8", "fp16")
# The default tolerances of the parity check, relative to the largest number in an output.
TOLERANCES = {"int8": 0.2, "fp16": 0.02}


def quantize_graph(
    model: ModelProto,
    kind: str,
    samples: Sequence[Arrays],
    operators: Sequence[str] | None = None,
) -> ModelProto:
    """The quantized graph. `samples` are its inputs, for one item each.

    int8 quantizes all operators that it can, or only those of the types in `operators`.

    Raises:
        UsageError: `kind` is neither int8 nor fp16.
        ConversionFailed: ONNX Runtime's tools cannot quantize the graph.
    """
    if kind not in KINDS:
        raise UsageError(f"Unknown --quantize {kind}.", hint=f"Use {' or '.join(KINDS)}.")
    try:
        with _silenced():
            return _to_half(model) if kind == "fp16" else _to_int8(model, samples, operators)
    except Exception as error:
        raise ConversionFailed(
            f"The graph cannot be quantized to {kind}: {first_line(error, 200)}",
            hint="Import it without --quantize.",
        ) from error


def _to_half(model: ModelProto) -> ModelProto:
    tools = load_onnxruntime("transformers.float16")
    half: ModelProto = tools.convert_float_to_float16(model, keep_io_types=True)
    return half


def _to_int8(
    model: ModelProto, samples: Sequence[Arrays], operators: Sequence[str] | None
) -> ModelProto:
    tools, onnx = load_onnxruntime("quantization"), load_onnx()
    with tempfile.TemporaryDirectory() as folder:
        before, prepared, after = (Path(folder) / f"{n}.onnx" for n in ("in", "prepared", "out"))
        save_graph(model, before)
        try:
            tools.shape_inference.quant_pre_process(before, prepared, skip_symbolic_shape=True)
        except Exception:
            prepared = before
        if count_operators(model).get("Conv"):
            reader, form = _make_reader(samples), tools.QuantFormat.QDQ
            tools.quantize_static(
                prepared,
                after,
                reader,
                quant_format=form,
                per_channel=True,
                reduce_range=True,  # else sums overflow on processors without VNNI
                op_types_to_quantize=operators,
            )
        else:
            tools.quantize_dynamic(prepared, after, op_types_to_quantize=operators)
        quantized: ModelProto = onnx.load(after)
        return quantized


class CalibrationReader(Protocol):
    """An `onnxruntime.quantization.CalibrationDataReader`."""

    def get_next(self) -> Arrays | None:
        """The next batch; None at the end."""


def _make_reader(samples: Sequence[Arrays]) -> CalibrationReader:
    base = load_onnxruntime("quantization").CalibrationDataReader

    class Reader(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self.remaining = iter(samples)

        def get_next(self) -> Arrays | None:
            sample = next(self.remaining, None)
            return sample

    reader: CalibrationReader = Reader()
    return reader


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Suppresses advice that the tools log through the root logger."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
