"""PyTorch modules to ONNX, with a free batch: by `torch.export`, or by tracing where that fails."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelpad.convert.graph import load_onnx, name_ends
from modelpad.convert.source import TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, ModelpadError, first_line

OPSET = 18
EXAMPLE_BATCH = 2  # 1 would be taken for a side that never changes
FREE_SIDE = 24


def load_torch() -> Any:
    """PyTorch. Raises `MissingExtra`."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", extra="pytorch") from error
    return torch


def make_example(spec: TensorSpec, batch: int = EXAMPLE_BATCH) -> Any:
    """A tensor (batch, ...) that fits `spec`; free sides are 24 long."""
    torch = load_torch()
    shape = [batch, *(FREE_SIDE if side is None else side for side in spec.item_shape)]
    rng = np.random.default_rng(3)
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iu":
        return torch.from_numpy(rng.integers(0, min(spec.limit or 2, 127), shape).astype(dtype))
    if dtype.kind == "b":
        return torch.ones(shape, dtype=torch.bool)
    return torch.from_numpy(rng.normal(0, 1, shape).astype(dtype))


def export_module(
    module: Any,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    dynamo_first: bool = True,
    examples: Sequence[Any] = (),
) -> Any:
    """The graph of a module that takes `inputs` in order and answers `outputs` in order.

    Raises:
        ConversionFailed: neither of PyTorch's exporters can do it; both reasons are told.
    """
    load_onnx()
    given = tuple(examples) or tuple(make_example(spec) for spec in inputs)
    ways = [_export_by_dynamo, _export_by_trace]
    reasons = []
    for way in ways if dynamo_first else reversed(ways):
        try:
            with _quiet():
                return name_ends(way(module, given, inputs), inputs, outputs)
        except Exception as error:
            cause = error.__cause__ or error
            reasons.append(f"{way.__name__.rpartition('_')[2]}: {first_line(cause, 160)}")
    raise ConversionFailed(
        f"PyTorch cannot export the module to ONNX ({'; '.join(reasons)}).",
        hint="Export it yourself with torch.onnx.export, and import the .onnx file.",
    )


def export_program(
    program: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Any:
    """The graph of what `torch.export` made. Raises `ConversionFailed`, with PyTorch's reason."""
    torch = load_torch()
    try:
        with _quiet():
            made = torch.onnx.export(program, dynamo=True, opset_version=OPSET)
            return name_ends(made.model_proto, inputs, outputs)
    except ModelpadError:
        raise
    except Exception as error:
        raise ConversionFailed(
            f"PyTorch cannot turn the program into ONNX: {first_line(error, 200)}",
            hint="Export it yourself with torch.onnx.export, and import the .onnx file.",
        ) from error


def _export_by_dynamo(module: Any, examples: tuple[Any, ...], inputs: Sequence[TensorSpec]) -> Any:
    torch = load_torch()
    auto = torch.export.Dim.AUTO
    dynamic = [
        {axis: auto for axis, side in enumerate(spec.shape) if side is None} for spec in inputs
    ]
    with torch.no_grad():
        program = torch.onnx.export(
            module, examples, dynamo=True, dynamic_shapes=tuple(dynamic), opset_version=OPSET
        )
    free = [value.shape for value in program.model.graph.inputs]
    if any(shape is not None and len(shape) and isinstance(shape[0], int) for shape in free):
        raise ValueError("the batch is fixed")
    return program.model_proto


def _export_by_trace(module: Any, examples: tuple[Any, ...], inputs: Sequence[TensorSpec]) -> Any:
    torch, onnx = load_torch(), load_onnx()
    names = [f"in_{index}" for index in range(len(inputs))]
    axes = {
        name: {axis: f"{name}_{axis}" for axis, side in enumerate(spec.shape) if side is None}
        for name, spec in zip(names, inputs, strict=True)
    }
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            module,
            examples,
            str(path),
            input_names=names,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        return onnx.load(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters explain themselves at length; what matters is in the error."""
    torch = load_torch()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator that ONNX has not
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
        torch.backends.mha.set_fastpath_enabled(fast)
