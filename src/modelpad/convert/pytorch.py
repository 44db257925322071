"""PyTorch modules and TorchScript. Programs (`.pt2`) are in `torch_program.py`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.archives import check_zip, unreadable
from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.convert.specs import InputSpec, parse_input
from modelpad.convert.torch_examples import fill_sizes, make_examples, make_hard_samples, resize
from modelpad.convert.torch_export import EXAMPLE_BATCH, OTHER_BATCH, export_module, load_torch
from modelpad.convert.torch_results import (
    find_script_training,
    name_results,
    numpy_dtype,
    training_mode,
)
from modelpad.convert.torch_specs import find_limits, fix_batch, make_distinct
from modelpad.errors import ConversionFailed, NotTrusted, UsageError, first_line
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto


def open_script(path: Path, request: ImportRequest) -> TorchSource:
    """The TorchScript module in `path`. It does not declare its input shapes: `--input` must.

    Raises:
        NotTrusted: without `request.trust`, since its code can read and write any file as soon as
            it is loaded.
        ConversionFailed: it cannot be read.
        UsageError: there is no `--input`.
    """
    if not request.trust:
        raise NotTrusted(
            f"{path.name} is TorchScript, a program that can read and write any file.",
            hint="Export the module again with torch.export.save (.pt2); or, if you trust its"
            " author, import it with --trust.",
            found=["TorchScript"],
        )
    torch = load_torch()
    check_zip(path)
    specs = read_specs(request, path.name)
    try:
        module = torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:
        raise unreadable(path, first_line(error)) from error
    found = find_script_training(module)
    if found:
        raise training_mode(path.name, found, "torch.jit.trace")
    return TorchSource(module, specs, "TorchScript", framework="torchscript", request=request)


def open_module(
    module: torch.nn.Module, example: object, *, framework: str = "pytorch"
) -> TorchSource:
    """A module in memory, with an example: a tensor, an array, or a tuple of them, each a batch.

    A dictionary of them is passed as keywords.
    """
    import torch

    by_name = isinstance(example, Mapping)
    arguments = example if isinstance(example, list | tuple) else (example,)
    values = [
        value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))
        for value in (example.values() if isinstance(example, Mapping) else arguments)
    ]
    names = [
        parameter.name
        for parameter in inspect.signature(module.forward).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if isinstance(example, Mapping):
        names = [str(name) for name in example]
    elif len(names) < len(values):
        names = [f"input_{index}" for index in range(len(values))]
    specs = [
        TensorSpec(name, numpy_dtype(value, name), (None, *value.shape[1:]))
        if value.ndim
        else TensorSpec(name, numpy_dtype(value, name), (), batch_axis=None)
        for name, value in zip(names, values, strict=False)
    ]
    return TorchSource(module, specs, "Module", framework=framework, by_name=by_name)


def read_specs(request: ImportRequest, name: str) -> list[TensorSpec]:
    """The inputs that `--input` describes, for models that do not. Raises `UsageError`."""
    specs = [parse_input(text) for text in request.inputs]
    if not specs:
        raise UsageError(
            f"{name} does not declare its input shapes.",
            hint="Describe them: --input image:224x224x3, or --input 'tensor:float32[4]'",
        )
    return [_read_spec(spec, index) for index, spec in enumerate(specs)]


def _read_spec(spec: InputSpec, index: int) -> TensorSpec:
    name = spec.name or ("input" if index == 0 else f"input_{index}")
    if spec.kind == "tensor":
        highest = spec.options.get("range", "").rpartition("..")[2]
        limit = int(highest) + 1 if highest.isdigit() else None
        return TensorSpec(name, spec.dtype or "float32", (None, *(spec.sides or ())), limit)
    if spec.kind == "audio":
        return TensorSpec(name, "float32", (None, None))
    if spec.kind == "text" or not spec.sides:
        raise UsageError(
            f"--input {spec.kind} does not specify the shape that the module expects.",
            hint="For example --input image:224x224x3, or --input 'tensor:int64[20]'",
        )
    height, width = spec.sides[:2]
    channels = spec.sides[2] if len(spec.sides) == 3 else 1 if spec.kind == "sketch" else 3
    last = spec.options.get("layout") == "nhwc"
    sides = (height, width, channels) if last else (channels, height, width)
    return TensorSpec(name, "float32", (None, *sides))


class TorchSource:
    """A PyTorch module with tensors as arguments and results."""

    classes: tuple[str, ...] = ()

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: Sequence[TensorSpec],
        model: str,
        *,
        framework: str = "pytorch",
        request: ImportRequest | None = None,
        by_name: bool = False,
        by_trace: bool = False,
    ) -> None:
        """`model` is the kind of model, for its facts. `by_name` passes inputs as keywords.

        `by_trace` is for a module that tracing is known to export, which is faster.

        Raises `ConversionFailed` if the module cannot be run on the inputs.
        """
        torch = load_torch()
        self.module, self.framework = module, framework
        self._by_name, self._by_trace = by_name, by_trace
        if getattr(module, "training", False):
            module.eval()
        self.inputs, self._sizes = tuple(inputs), fill_sizes(inputs, request or ImportRequest())
        first = self._run_first()
        self.outputs = make_distinct(self._describe(first), self.inputs)
        self.facts: Mapping[str, Json] = {
            "model": model,
            "parameters": sum(tensor.numel() for tensor in module.parameters()),
            "torch": str(torch.__version__),
        }

    def run(self, batch: Arrays) -> Arrays:
        """The module's outputs, in evaluation mode."""
        import torch

        values = [torch.from_numpy(np.array(batch[spec.name])) for spec in self.inputs]
        results = self._call(values)
        return {
            spec.name: value.numpy() for spec, (_, value) in zip(self.outputs, results, strict=True)
        }

    def export(self) -> ModelProto:
        """The graph, with all axes dynamic that are free."""
        flat, scripted = self._flatten(), hasattr(self.module, "inlined_graph")
        return export_module(
            flat,
            self.inputs,
            self.outputs,
            self._sizes,
            dynamo_first=not (scripted or self._by_trace),
        )

    def hard_samples(self) -> Sequence[Arrays]:
        """Zeros, negative and large numbers, the first and last index, padding."""
        return make_hard_samples(self._sizes)

    def files(self) -> Mapping[str, bytes | Path]:
        """No files: a bundle never contains code."""
        return {}

    def _call(self, values: Sequence[torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
        import torch

        with torch.no_grad():
            return name_results(self._forward(values))

    def _forward(self, values: Sequence[torch.Tensor]) -> object:
        if not self._by_name:
            return self.module(*values)
        names = [spec.name for spec in self.inputs]
        return self.module(**dict(zip(names, values, strict=True)))

    def _run_first(self) -> list[tuple[str, torch.Tensor]]:
        """Runs the module on a batch of two; if it fails on a batch of one, which is then fixed."""
        try:
            with find_limits(self.module, make_examples(self._sizes, EXAMPLE_BATCH)) as limits:
                results = self._call(limits.values)
            self.inputs, self._sizes = limits.apply(self.inputs), limits.apply(self._sizes)
            return results
        except Exception as error:
            shapes = ", ".join(f"{spec.name} {list(spec.item_shape)}" for spec in self._sizes)
            fixed = tuple(fix_batch(spec) for spec in self._sizes)
            try:
                results = self._call(make_examples(fixed, 1))
            except Exception:
                raise ConversionFailed(
                    f"The module fails on {shapes}: {first_line(error, 200)}",
                    hint="Describe its inputs with --input.",
                ) from error
            self.inputs = tuple(fix_batch(spec) for spec in self.inputs)
            self._sizes = fixed
            return results

    def _describe(self, first: Sequence[tuple[str, torch.Tensor]]) -> list[TensorSpec]:
        """The outputs. The axes that change with the batch or with free sides are free."""
        more = self._shapes(self._sizes, OTHER_BATCH)
        other = self._shapes(resize(self.inputs, self._sizes), EXAMPLE_BATCH)
        specs = []
        for (name, value), larger, wider in zip(first, more, other, strict=True):
            shape = tuple(value.shape)
            axes = [
                axis
                for axis, (side, next_side) in enumerate(zip(shape, larger, strict=True))
                if (side, next_side) == (EXAMPLE_BATCH, OTHER_BATCH)
            ]
            sides = zip(shape, larger, wider, strict=True)
            free = tuple(a if a == b == c else None for a, b, c in sides)
            axis = axes[0] if axes else None
            specs.append(TensorSpec(name, numpy_dtype(value, name), free, batch_axis=axis))
        return specs

    def _shapes(self, sizes: Sequence[TensorSpec], batch: int) -> list[tuple[int, ...]]:
        """The shapes of the outputs, for the first sizes if the module rejects these."""
        try:
            results = self._call(make_examples(sizes, batch))
        except Exception:
            results = self._call(make_examples(self._sizes, EXAMPLE_BATCH))
        return [tuple(value.shape) for _, value in results]

    def _flatten(self) -> torch.nn.Module:
        """The module with tensors in order as arguments, and a tensor or a tuple as its result."""
        import torch

        if isinstance(self.module, torch.jit.ScriptModule) and not self._by_name:
            return self.module
        source = self

        class Flat(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = source.module

            def forward(self, *values: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
                results = [value for _, value in name_results(source._forward(values))]
                return results[0] if len(results) == 1 else tuple(results)

        return Flat().eval()
