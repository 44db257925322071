"""Exports PyTorch modules to ONNX with dynamic axes, by `torch.export` or else by tracing.

Either may bake a size or a branch of the example into the graph. So each graph is run once with
other sizes, and the other exporter is used if the result differs.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.exporter_log import exporter_log
from modelpad.convert.graph import load_onnx, rename_io
from modelpad.convert.source import TensorSpec
from modelpad.convert.torch_examples import make_array, make_examples, resize
from modelpad.errors import ConversionFailed, MissingExtra, first_line
from modelpad.fields.arrays import Array
from modelpad.runtime import load_onnxruntime

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

OPSET = 18
EXAMPLE_BATCH, OTHER_BATCH = 2, 3  # PyTorch would specialise on a size of 1
MAX_CHECKED_BYTES = 500_000_000
ROUGHLY = 2e-2  # of the largest number; the parity check is exact
COLOURS = re.compile(r"\x1b\[[\d;]*m")
EXPORT_IT = "Export it yourself with torch.onnx.export, and import the .onnx file."

Call = Callable[[Sequence[Array]], Sequence[Array]]
"""A model as a function of arrays, in the order of its inputs and outputs."""


def load_torch() -> ModuleType:
    """The `torch` package. Raises `MissingExtra`."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", extra="pytorch") from error
    return torch


class Unfit(Exception):
    """A graph that differs from its model at other sizes than the example's."""


class Random(ConversionFailed):
    """A model that draws random numbers."""


def export_module(
    module: torch.nn.Module,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    sizes: Sequence[TensorSpec],
    *,
    dynamo_first: bool = True,
) -> ModelProto:
    """Exports a module that takes `inputs` as positional arguments.

    `sizes` are the inputs with a size for each free side (see `fill_sizes`).

    Raises:
        ConversionFailed: both of PyTorch's exporters fail. The message has both reasons.
    """
    exporters = [_export_by_dynamo, _export_by_trace]
    ordered = exporters if dynamo_first else exporters[::-1]
    job = _Job(module, tuple(inputs), tuple(outputs), tuple(sizes))
    return _first_success(job, [(each, True) for each in ordered])


def export_program(
    program: torch.export.ExportedProgram,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> ModelProto:
    """Exports a program from `torch.export`. Raises `ConversionFailed` with PyTorch's reason."""
    torch = load_torch()
    load_onnx()
    with exporter_log("torch"):
        # PyTorch decomposes fewer operators for ONNX. Where that fails, all of them first.
        for prepare in (lambda: program, program.run_decompositions):
            try:
                exported = torch.onnx.export(prepare(), dynamo=True, opset_version=OPSET)
                return rename_io(exported.model_proto, inputs, outputs)
            except Exception as error:
                traceback.print_exc()
                reason = _reason(error)
        raise ConversionFailed(
            f"PyTorch cannot export the program to ONNX: {reason}", hint=EXPORT_IT
        )


@dataclass(frozen=True, slots=True)
class _Job:
    """A module, what it takes and returns, and the sizes to export it with."""

    module: torch.nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sizes: tuple[TensorSpec, ...]

    def make_examples(self) -> tuple[torch.Tensor, ...]:
        return tuple(make_examples(self.sizes, EXAMPLE_BATCH))


def _first_success(
    job: _Job, exporters: Sequence[tuple[Callable[[_Job], ModelProto], bool]]
) -> ModelProto:
    """The graph of the first exporter that succeeds; each says whether its graph is checked."""
    load_onnx()
    reasons = []
    with exporter_log("torch"), _without_fused_attention():
        for exporter, checked in exporters:
            try:
                graph = rename_io(exporter(job), job.inputs, job.outputs)
                if checked:
                    check_other_sizes(graph, _caller(job.module), job.inputs, job.sizes)
                return graph
            except Exception as error:
                if isinstance(error, Random):
                    raise
                traceback.print_exc()
                reasons.append(f"{exporter.__name__.rpartition('_')[2]}: {_reason(error)}")
        raise ConversionFailed(
            f"PyTorch cannot export the model to ONNX ({'; '.join(reasons)}).", hint=EXPORT_IT
        )


def check_other_sizes(
    graph: ModelProto, model: Call, inputs: Sequence[TensorSpec], sizes: Sequence[TensorSpec]
) -> None:
    """Runs a graph and its model at another batch size, and then at other free sizes.

    Raises `Unfit` if they differ, and `Random` if the model is not deterministic.
    """
    if graph.ByteSize() > MAX_CHECKED_BYTES:
        return
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    others = list(sizes), resize(inputs, sizes)
    for other in others[: 1 if others[1] == others[0] else 2]:
        values = [make_array(spec, OTHER_BATCH, 17 + n) for n, spec in enumerate(other)]
        try:
            expected = model(values)
        except Exception as error:  # the model does not accept this size
            print(f"check_other_sizes: {error}")
            continue
        feed = {spec.name: value for spec, value in zip(inputs, values, strict=True)}
        try:
            _compare_roughly(expected, session.run(None, feed))
        except Unfit:
            _check_deterministic(expected, model(values))
            raise


def _compare_roughly(expected: Sequence[Array], got: Sequence[Array]) -> None:
    for first, second in zip(expected, got, strict=True):
        if first.shape != second.shape:
            raise Unfit(f"the graph has fixed the shape {list(second.shape)}")
        if first.dtype.kind != "f" or not first.size:
            continue
        scale = float(np.max(np.abs(first), initial=0, where=np.isfinite(first)))
        if not np.allclose(first, second, rtol=0, atol=ROUGHLY * scale + 1e-6, equal_nan=True):
            raise Unfit("the graph has fixed a size or a branch of the example")


def _check_deterministic(first: Sequence[Array], second: Sequence[Array]) -> None:
    try:
        _compare_roughly(first, second)
    except Unfit as error:
        raise Random(
            "The model gives different outputs each time for the same input.",
            hint="Remove the layers that draw random numbers, or make them depend on training.",
        ) from error


def _caller(module: torch.nn.Module) -> Call:
    def call(values: Sequence[Array]) -> list[Array]:
        import torch

        with torch.no_grad():
            result = module(*(torch.from_numpy(np.asarray(value)) for value in values))
        results = [result] if isinstance(result, torch.Tensor) else result
        return [each.detach().numpy() for each in results]

    return call


def _reason(error: BaseException) -> str:
    """The first line of the innermost cause, without colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    return COLOURS.sub("", first_line(error, 200))


def _export_by_dynamo(job: _Job) -> ModelProto:
    torch = load_torch()
    auto = torch.export.Dim.AUTO
    dynamic = tuple(
        {axis: auto for axis, side in enumerate(spec.shape) if side is None} for spec in job.inputs
    )
    with torch.no_grad():
        # The module takes *values: one tuple of shapes for one parameter.
        program = torch.export.export(
            job.module, job.make_examples(), dynamic_shapes=(dynamic,), strict=False
        )
        exported = torch.onnx.export(program, dynamo=True, opset_version=OPSET)
    for spec, value in zip(job.inputs, exported.model.graph.inputs, strict=False):
        for side, made in zip(spec.shape, value.shape or (), strict=False):
            if side is None and isinstance(made, int):
                raise Unfit(f"the graph has fixed a side of {spec.name} at {made}")
    graph: ModelProto = exported.model_proto
    return graph


def _export_by_trace(job: _Job) -> ModelProto:
    torch, onnx = load_torch(), load_onnx()
    names = [f"in_{index}" for index in range(len(job.inputs))]
    axes = {
        name: {axis: f"{name}_{axis}" for axis, side in enumerate(spec.shape) if side is None}
        for name, spec in zip(names, job.inputs, strict=True)
    }
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            job.module,
            job.make_examples(),
            str(path),
            input_names=names,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        graph: ModelProto = onnx.load(path)
        return graph


@contextlib.contextmanager
def _without_fused_attention() -> Iterator[None]:
    """Disables a fused operator of PyTorch's transformers, which does not exist in ONNX."""
    torch = load_torch()
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
