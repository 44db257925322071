"""PyTorch: live modules, `.pt2` programs, TorchScript, and weights with a factory of the user's."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelpad.convert.archives import check_zip, unreadable
from modelpad.convert.source import Arrays, ImportRequest, SourceModel, TensorSpec
from modelpad.convert.specs import InputSpec, parse_input
from modelpad.convert.torch_export import (
    export_module,
    export_program,
    load_torch,
    make_example,
)
from modelpad.convert.torch_safety import copy_exported, refuse_script
from modelpad.errors import ConversionFailed, MissingExtra, NotTrusted, UsageError, first_line


def open_exported(path: Path, request: ImportRequest) -> TorchSource:
    """The program in a `.pt2` file.

    `torch.export.load` runs code that a file holds, so without trust it gets a checked copy.

    Raises:
        NotTrusted: it calls anything but operators that compute, or holds pickles, names or
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
    values = [
        node.meta["val"]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
    ]
    inputs = []
    for index, value in enumerate(values):
        if not isinstance(value, torch.Tensor):
            raise ConversionFailed(
                f"{path.name} takes a {type(value).__name__} besides tensors.",
                hint="Export a module whose forward takes tensors only.",
            )
        sides = tuple(side if isinstance(side, int) else None for side in value.shape)
        inputs.append(TensorSpec(program.graph_signature.user_inputs[index], _dtype(value), sides))
    fixed = bool(inputs) and inputs[0].shape[0] is not None
    return TorchSource(module, inputs, "torch.export", program=program, one_by_one=fixed)


def open_script(path: Path, request: ImportRequest) -> TorchSource:
    """The TorchScript module in `path`; it does not tell the shapes it takes, `--input` must.

    Raises:
        NotTrusted: without `request.trust`: its code can read and write any file, from the moment
            that it is loaded.
        ConversionFailed: it cannot be read.
        UsageError: no `--input`.
    """
    if not request.trust:
        raise refuse_script(path)
    torch = load_torch()
    check_zip(path)
    specs = read_specs(request, path.name)
    try:
        module = torch.jit.load(str(path), map_location="cpu").eval()
    except Exception as error:
        raise unreadable(path, first_line(error)) from error
    return TorchSource(module, specs, "TorchScript", framework="torchscript")


def open_state(path: Path, request: ImportRequest) -> SourceModel:
    """Weights alone (a state dict or a safetensors file), put into `request.factory`'s module.

    With `request.trust` also a whole pickled module, or a fastai learner.

    Raises:
        UsageError: no `--module` or no `--input`, or the module cannot be imported.
        NotTrusted: the file is a pickle of more than tensors.
        ConversionFailed: the file cannot be read, or the weights do not fit the module.
        MissingExtra: a package that the file needs is not installed.
    """
    load_torch()
    if path.read_bytes()[8:9] == b"{" and not zipfile.is_zipfile(path):
        try:
            from safetensors.torch import load_file
        except ImportError as error:
            raise MissingExtra("safetensors", extra="pytorch") from error
        try:
            state = load_file(path)
        except Exception as error:
            raise unreadable(path, first_line(error)) from error
    else:
        check_zip(path)
        state = _load_pickled(path, request)
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping):
        from modelpad.convert.live import open_live

        return open_live(state, request)
    if request.factory is None:
        raise UsageError(
            f"{path.name} holds weights without their module.",
            hint="Say which function makes it: --module package.module:factory",
        )
    module = make_module(request.factory)
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = str(error).strip().splitlines()
        raise ConversionFailed(
            f"The weights in {path.name} do not fit the module of {request.factory}:"
            f" {' '.join(line.strip() for line in lines[1:3]) or first_line(error)}",
            hint="Give the factory of the module that was trained.",
        ) from error
    return TorchSource(module, read_specs(request, path.name), "Module")


def _load_pickled(path: Path, request: ImportRequest) -> Any:
    torch = load_torch()
    try:
        return torch.load(path, map_location="cpu", weights_only=not request.trust)
    except ModuleNotFoundError as error:
        from modelpad.convert.pickles import name_missing

        raise name_missing(path, error) from error
    except Exception as error:
        if request.trust:
            raise unreadable(path, first_line(error)) from error
        named = re.search(r"GLOBAL ([\w.]+)", str(error))  # after a page of advice of torch's own
        found = named[1] if named else "pickle"
        raise NotTrusted(
            f"{path.name} is a pickle of more than tensors, which runs code when it is opened:"
            f" {found}.",
            hint="Save model.state_dict() alone; or, if you trust who made it, use --trust.",
            found=[found],
        ) from error


def make_module(factory: str) -> Any:
    """The module that `package.module:function` makes. Raises `UsageError`."""
    torch = load_torch()
    name, _, attribute = factory.partition(":")
    if not attribute:
        raise UsageError(
            f"--module {factory!r} is not package.module:factory.", hint="--module net:make_net"
        )
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does: the user's module lies where they stand
    try:
        module = getattr(importlib.import_module(name), attribute)()
    except Exception as error:
        raise UsageError(
            f"--module {factory}: {type(error).__name__}: {first_line(error)}.",
            hint="It is imported from here, and called without arguments.",
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            f"{factory} makes a {type(module).__name__}, no torch.nn.Module.",
            hint="Name a function without arguments that answers the untrained module.",
        )
    return module.eval()


def open_module(module: Any, example: Any, *, framework: str = "pytorch") -> TorchSource:
    """A live module, with an example: a tensor, an array, or a tuple of them, with a batch axis.

    Raises `UsageError` when the example is none of these.
    """
    torch = load_torch()
    given = example if isinstance(example, list | tuple) else (example,)
    values = [torch.as_tensor(np.asarray(v)) if not torch.is_tensor(v) else v for v in given]
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
    """The tensors that `--input` describes, for models that do not tell. Raises `UsageError`."""
    words = [parse_input(text) for text in request.inputs]
    if not words:
        raise UsageError(
            f"{name} does not tell what it takes.",
            hint="Say so: --input image:224x224x3, or --input 'tensor:float32[4]'",
        )
    return [_read_spec(each, index) for index, each in enumerate(words)]


def _read_spec(words: InputSpec, index: int) -> TensorSpec:
    name = words.name or ("input" if index == 0 else f"input_{index}")
    if words.kind == "tensor":
        limit = words.options.get("range", "").rpartition("..")[2]
        known = int(limit) + 1 if limit.isdigit() else None
        return TensorSpec(name, words.dtype or "float32", (None, *(words.sides or ())), known)
    if words.kind == "text" or not words.sides:
        raise UsageError(
            f"--input {words.kind} does not say the shape that the module takes.",
            hint="For example --input image:224x224x3, or --input 'tensor:int64[20]'",
        )
    height, width = words.sides[:2]
    channels = words.sides[2] if len(words.sides) == 3 else 1 if words.kind == "sketch" else 3
    last = words.options.get("layout") == "nhwc"
    sides = (height, width, channels) if last else (channels, height, width)
    return TensorSpec(name, "float32", (None, *sides))


class TorchSource:
    """A PyTorch module that takes tensors and answers tensors."""

    classes: tuple[str, ...] = ()
    scales_itself = False

    def __init__(
        self,
        module: Any,
        inputs: Sequence[TensorSpec],
        model: str,
        *,
        framework: str = "pytorch",
        program: Any = None,
        one_by_one: bool = False,
    ) -> None:
        """Raises `ConversionFailed` when the module cannot be run on what it is said to take."""
        torch = load_torch()
        self.module, self.framework = module, framework
        self._program, self._one_by_one = program, one_by_one
        self._was_training = getattr(module, "training", False)
        if self._was_training and program is None:
            module.eval()
        self.inputs = tuple(inputs)
        size = 1 if one_by_one else 2
        try:
            answers = self._call([make_example(spec, size) for spec in self.inputs])
        except Exception as error:
            told = ", ".join(f"{spec.name} {list(spec.item_shape)}" for spec in self.inputs)
            raise ConversionFailed(
                f"The module fails on {told}: {first_line(error, 200)}",
                hint="Describe what it takes with --input.",
            ) from error
        names = [name for name, _ in answers]
        self.outputs = tuple(
            TensorSpec(name, _dtype(value), (None, *value.shape[1:])) for name, value in answers
        )
        assert len(set(names)) == len(names)
        parameters = sum(p.numel() for p in module.parameters()) if program is None else 0
        if program is not None:
            parameters = sum(tensor.numel() for tensor in program.state_dict.values())
        self.facts: Mapping[str, Any] = {
            "model": model,
            "parameters": int(parameters),
            "torch": str(torch.__version__),
        }

    def run(self, batch: Arrays) -> Arrays:
        """The module's own answers, in evaluation mode."""
        torch = load_torch()
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

    def export(self) -> Any:
        """The graph, any number of items at once."""
        if self._program is not None:
            return export_program(self._program, self.inputs, self.outputs)
        module = _flatten_answers(self.module)
        return export_module(module, self.inputs, self.outputs)

    def files(self) -> Mapping[str, bytes | Path]:
        """None: a module's code is not ours to keep."""
        return {}

    def _call(self, values: Sequence[Any]) -> list[tuple[str, Any]]:
        torch = load_torch()
        with torch.no_grad():
            return name_answers(self.module(*values))


def name_answers(answer: Any) -> list[tuple[str, Any]]:
    """The tensors of an answer with names: a dictionary's keys, else output_0, output_1, ...

    A lone tensor is `output`. Raises `TypeError` for an answer of anything but tensors.
    """
    torch = load_torch()
    if torch.is_tensor(answer):
        return [("output", answer)]
    if isinstance(answer, Mapping):
        named = [(str(key), value) for key, value in answer.items()]
    else:
        named = [(f"output_{index}", value) for index, value in enumerate(answer)]
    kept = [(name, value) for name, value in named if torch.is_tensor(value)]
    if not kept or len(kept) < len([value for _, value in named if value is not None]):
        raise TypeError(f"it answers {type(answer).__name__} of more than tensors")
    return kept


def _flatten_answers(module: Any) -> Any:
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        return module

    class Flat(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *values: Any) -> Any:
            answers = [value for _, value in name_answers(self.inner(*values))]
            return answers[0] if len(answers) == 1 else tuple(answers)

    return Flat().eval()


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")
