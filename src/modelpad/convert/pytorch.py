"""PyTorch modules, `.pt2` programs and TorchScript. For weights alone, see `torch_weights.py`."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.archives import check_zip, unreadable
from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.convert.specs import InputSpec, parse_input
from modelpad.convert.torch_export import (
    export_module,
    export_program,
    load_torch,
    make_example,
)
from modelpad.convert.torch_safety import copy_exported
from modelpad.errors import ConversionFailed, NotTrusted, UsageError, first_line
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto


def open_exported(path: Path, request: ImportRequest) -> TorchSource:
    """The program in a `.pt2` file.

    `torch.export.load` runs code from the file, so without trust it loads a checked copy.

    Raises:
        NotTrusted: it calls more than operators that compute, or contains pickles, names or
            expressions that could run code.
        TooLarge: its tensors are declared far larger than their data.
        ConversionFailed: it cannot be read.
    """
    torch = load_torch()
    names = check_zip(path)
    with tempfile.TemporaryDirectory(prefix="modelpad-") as folder:
        checked = path
        if not request.trust:
            checked = Path(folder) / "checked.pt2"
            copy_exported(path, names, checked)
        try:
            program = torch.export.load(checked)
            module = program.module(check_guards=False)
        except Exception as error:
            raise unreadable(path, first_line(error)) from error
    inputs = _program_inputs(program, path)
    fixed = bool(inputs) and inputs[0].shape[0] is not None
    return TorchSource(module, inputs, "torch.export", program=program, one_by_one=fixed)


def _program_inputs(program: torch.export.ExportedProgram, path: Path) -> list[TensorSpec]:
    """Raises `ConversionFailed` if an input is not a tensor."""
    import torch

    names = program.graph_signature.user_inputs
    values = [
        node.meta["val"]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in names
    ]
    inputs = []
    for name, value in zip(names, values, strict=False):
        if not isinstance(value, torch.Tensor):
            raise ConversionFailed(
                f"{path.name} has an input of type {type(value).__name__}.",
                hint="Export a module whose forward takes tensors only.",
            )
        sides = tuple(side if isinstance(side, int) else None for side in value.shape)
        inputs.append(TensorSpec(str(name), _dtype(value), sides))
    return inputs


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
    return TorchSource(module, specs, "TorchScript", framework="torchscript")


def open_module(
    module: torch.nn.Module, example: object, *, framework: str = "pytorch"
) -> TorchSource:
    """A module in memory, with an example: a tensor, an array, or a tuple of them, each a batch."""
    import torch

    arguments = example if isinstance(example, list | tuple) else (example,)
    values = [
        value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))
        for value in arguments
    ]
    names = [
        parameter.name
        for parameter in inspect.signature(module.forward).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(names) < len(values):
        names = [f"input_{index}" for index in range(len(values))]
    specs = [
        TensorSpec(name, _dtype(value), (None, *value.shape[1:]))
        for name, value in zip(names, values, strict=False)
    ]
    return TorchSource(module, specs, "Module", framework=framework)


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
        program: torch.export.ExportedProgram | None = None,
        one_by_one: bool = False,
    ) -> None:
        """`model` is the kind of model, for its facts. `one_by_one` is for a batch size of 1.

        Raises `ConversionFailed` if the module cannot be run on the inputs.
        """
        torch = load_torch()
        self.module, self.framework = module, framework
        self._program, self._one_by_one = program, one_by_one
        if program is None and getattr(module, "training", False):
            module.eval()
        self.inputs = tuple(inputs)
        size = 1 if one_by_one else 2
        try:
            results = self._call([make_example(spec, size) for spec in self.inputs])
        except Exception as error:
            shapes = ", ".join(f"{spec.name} {list(spec.item_shape)}" for spec in self.inputs)
            raise ConversionFailed(
                f"The module fails on {shapes}: {first_line(error, 200)}",
                hint="Describe its inputs with --input.",
            ) from error
        names = [name for name, _ in results]
        self.outputs = tuple(
            TensorSpec(name, _dtype(value), (None, *value.shape[1:])) for name, value in results
        )
        assert len(set(names)) == len(names)
        parameters = module.parameters() if program is None else program.state_dict.values()
        self.facts: Mapping[str, Json] = {
            "model": model,
            "parameters": sum(tensor.numel() for tensor in parameters),
            "torch": str(torch.__version__),
        }

    def run(self, batch: Arrays) -> Arrays:
        """The module's outputs, in evaluation mode."""
        import torch

        values = [torch.from_numpy(np.array(batch[spec.name])) for spec in self.inputs]
        if not self._one_by_one:
            return {name: value.numpy() for name, value in self._call(values)}
        rows = [
            self._call([value[row : row + 1] for value in values]) for row in range(len(values[0]))
        ]
        return {
            spec.name: np.concatenate([row[index][1].numpy() for row in rows])
            for index, spec in enumerate(self.outputs)
        }

    def export(self) -> ModelProto:
        """The graph, with a dynamic batch axis."""
        if self._program is not None:
            return export_program(self._program, self.inputs, self.outputs)
        return export_module(_flatten_results(self.module), self.inputs, self.outputs)

    def hard_samples(self) -> Sequence[Arrays]:
        """None."""
        return ()

    def files(self) -> Mapping[str, bytes | Path]:
        """No files: a bundle never contains code."""
        return {}

    def _call(self, values: Sequence[torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
        import torch

        with torch.no_grad():
            return name_results(self.module(*values))


def name_results(result: object) -> list[tuple[str, torch.Tensor]]:
    """A module's results by name: a dictionary's keys, or output_0, output_1, ...

    A single tensor is `output`. Raises `TypeError` unless all results are tensors or None.
    """
    import torch

    if isinstance(result, torch.Tensor):
        return [("output", result)]
    if isinstance(result, Mapping):
        named = [(str(key), value) for key, value in result.items()]
    elif isinstance(result, Sequence):
        named = [(f"output_{index}", value) for index, value in enumerate(result)]
    else:
        named = []
    tensors = [(name, value) for name, value in named if isinstance(value, torch.Tensor)]
    if not tensors or len(tensors) < sum(value is not None for _, value in named):
        raise TypeError(f"its result is a {type(result).__name__} of more than tensors")
    return tensors


def _flatten_results(module: torch.nn.Module) -> torch.nn.Module:
    """Wraps a module so that it returns a tensor or a tuple of tensors."""
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        return module

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *values: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
            results = [value for _, value in name_results(self.inner(*values))]
            return results[0] if len(results) == 1 else tuple(results)

    return Flat().eval()


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
