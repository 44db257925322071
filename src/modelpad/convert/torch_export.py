"""Exports PyTorch modules to ONNX with a dynamic batch, by `torch.export` or else by tracing."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.graph import load_onnx, rename_io
from modelpad.convert.source import TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, ModelpadError, first_line

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

OPSET = 18
EXAMPLE_BATCH = 2  # PyTorch would specialise on a size of 1
FREE_SIDE = 24


def load_torch() -> ModuleType:
    """The `torch` package. Raises `MissingExtra`."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", extra="pytorch") from error
    return torch


def make_example(spec: TensorSpec, batch: int = EXAMPLE_BATCH) -> torch.Tensor:
    """A random tensor (batch, ...) that fits `spec`. Free sides are 24."""
    import torch

    shape = [batch, *(FREE_SIDE if side is None else side for side in spec.item_shape)]
    rng = np.random.default_rng(3)
    dtype = np.dtype(spec.dtype)
    if dtype.kind in "iu":
        return torch.from_numpy(rng.integers(0, min(spec.limit or 2, 127), shape).astype(dtype))
    if dtype.kind == "b":
        return torch.ones(shape, dtype=torch.bool)
    return torch.from_numpy(rng.normal(0, 1, shape).astype(dtype))


def export_module(
    module: torch.nn.Module,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    dynamo_first: bool = True,
) -> ModelProto:
    """Exports a module with positional arguments `inputs` and results `outputs`.

    Raises:
        ConversionFailed: both of PyTorch's exporters fail. The message has both reasons.
    """
    load_onnx()
    examples = tuple(make_example(spec) for spec in inputs)
    exporters = [_export_by_dynamo, _export_by_trace]
    reasons = []
    for exporter in exporters if dynamo_first else reversed(exporters):
        try:
            with _silenced():
                return rename_io(exporter(module, examples, inputs), inputs, outputs)
        except Exception as error:
            cause = error.__cause__ or error
            reasons.append(f"{exporter.__name__.rpartition('_')[2]}: {first_line(cause, 160)}")
    raise ConversionFailed(
        f"PyTorch cannot export the module to ONNX ({'; '.join(reasons)}).",
        hint="Export it yourself with torch.onnx.export, and import the .onnx file.",
    )


def export_program(
    program: torch.export.ExportedProgram,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> ModelProto:
    """Exports a program from `torch.export`. Raises `ConversionFailed` with PyTorch's reason."""
    torch = load_torch()
    try:
        with _silenced():
            exported = torch.onnx.export(program, dynamo=True, opset_version=OPSET)
            return rename_io(exported.model_proto, inputs, outputs)
    except ModelpadError:
        raise
    except Exception as error:
        raise ConversionFailed(
            f"PyTorch cannot export the program to ONNX: {first_line(error, 200)}",
            hint="Export it yourself with torch.onnx.export, and import the .onnx file.",
        ) from error


def _export_by_dynamo(
    module: torch.nn.Module, examples: tuple[torch.Tensor, ...], inputs: Sequence[TensorSpec]
) -> ModelProto:
    torch = load_torch()
    auto = torch.export.Dim.AUTO
    dynamic = [
        {axis: auto for axis, side in enumerate(spec.shape) if side is None} for spec in inputs
    ]
    with torch.no_grad():
        program = torch.onnx.export(
            module, examples, dynamo=True, dynamic_shapes=tuple(dynamic), opset_version=OPSET
        )
    shapes = [value.shape for value in program.model.graph.inputs]
    if any(shape is not None and len(shape) and isinstance(shape[0], int) for shape in shapes):
        raise ValueError("the batch size is fixed")
    graph: ModelProto = program.model_proto
    return graph


def _export_by_trace(
    module: torch.nn.Module, examples: tuple[torch.Tensor, ...], inputs: Sequence[TensorSpec]
) -> ModelProto:
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
        graph: ModelProto = onnx.load(path)
        return graph


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Suppresses the exporters' output. What matters is in their exceptions."""
    torch = load_torch()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operator does not exist in ONNX
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
