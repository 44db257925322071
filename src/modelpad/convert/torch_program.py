"""Programs from `torch.export`: `.pt2` files. They declare their inputs, names and free sizes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.archives import check_zip, unreadable
from modelpad.convert.source import ImportRequest, Shape, TensorSpec
from modelpad.convert.torch_examples import fill_sizes, make_array, make_hard_samples
from modelpad.convert.torch_export import export_program, load_torch
from modelpad.convert.torch_results import (
    find_training,
    name_results,
    numpy_dtype,
    training_mode,
)
from modelpad.convert.torch_safety import copy_exported, copy_trusted
from modelpad.convert.torch_specs import make_distinct
from modelpad.errors import ConversionFailed, first_line
from modelpad.fields.arrays import Array, Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

SAME = 1e-3  # relative; of an item's outputs alone and in a batch


def open_exported(path: Path, request: ImportRequest) -> ProgramSource:
    """The program in a `.pt2` file.

    `torch.export.load` runs code from the file, so without trust it loads a checked copy.

    Raises:
        NotTrusted: it calls more than operators that compute, or contains pickles, names or
            expressions that could run code.
        TooLarge: its tensors are declared far larger than their data.
        ConversionFailed: it cannot be read, was exported in training mode, or takes or returns more
            than tensors.
    """
    torch = load_torch()
    names = check_zip(path)
    with tempfile.TemporaryDirectory(prefix="modelpad-") as folder:
        copy = Path(folder) / "checked.pt2"
        write_copy = copy_trusted if request.trust else copy_exported
        write_copy(path, names, copy)
        try:
            program = torch.export.load(copy)
        except Exception as error:
            raise unreadable(path, first_line(error)) from error
    found = find_training(program)
    if found:
        raise training_mode(path.name, found, "torch.export.export")
    return ProgramSource(program, path.name, request)


class ProgramSource:
    """A program from `torch.export`, called with its inputs as the exported module was."""

    framework = "pytorch"
    classes: tuple[str, ...] = ()
    scales_itself = False

    def __init__(
        self,
        program: torch.export.ExportedProgram,
        name: str,
        request: ImportRequest,
    ) -> None:
        """Raises `ConversionFailed` if it takes or returns more than tensors, or keeps state."""
        import torch

        self._program = program
        self._arguments = _read_arguments(program, name)
        _check_stateless(program, name)
        values = {n: v for n, v in self._arguments if isinstance(v, torch.Tensor)}
        limits = _find_limits(program)
        inputs = [
            TensorSpec(n, numpy_dtype(v, n), _sides(v), limits.get(n)) for n, v in values.items()
        ]
        results = _read_results(program, name)
        outputs = [TensorSpec(n, numpy_dtype(v, n), _sides(v)) for n, v in results]
        try:
            self._module = program.module(check_guards=False)
        except Exception as error:
            raise ConversionFailed(
                f"PyTorch cannot run {name}: {first_line(error, 200)}",
                hint="Export it again with this version of PyTorch.",
            ) from error
        symbols = [_symbols(v) for v in values.values()], [_symbols(v) for _, v in results]
        self.inputs, self.outputs = tuple(inputs), make_distinct(outputs, inputs)
        axes = self._find_batch_axes(*symbols, request)
        self.inputs = tuple(_on_axis(s, axis) for s, axis in zip(inputs, axes[0], strict=True))
        self.outputs = tuple(
            _on_axis(s, axis) for s, axis in zip(self.outputs, axes[1], strict=True)
        )
        self._sizes = fill_sizes(self.inputs, request, _example_shapes(program))
        self.facts: Mapping[str, Json] = {
            "model": "torch.export",
            "parameters": sum(tensor.numel() for tensor in program.state_dict.values()),
            "torch": str(torch.__version__),
        }

    def run(self, batch: Arrays) -> Arrays:
        """The program's outputs, by name."""
        import torch

        values = [torch.from_numpy(np.array(batch[spec.name])) for spec in self.inputs]
        with torch.no_grad():
            results = self._call(values)
        return {
            spec.name: value.numpy() for spec, (_, value) in zip(self.outputs, results, strict=True)
        }

    def _call(self, values: Sequence[torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
        """Passes `values` as the exported module took them, together with its constants."""
        import torch
        from torch.utils import _pytree

        rest = iter(values)
        flat = [next(rest) if isinstance(v, torch.Tensor) else v for _, v in self._arguments]
        arguments, keywords = _pytree.tree_unflatten(flat, self._program.call_spec.in_spec)
        return name_results(self._module(*arguments, **keywords))

    def export(self) -> ModelProto:
        """The graph, with the axes dynamic that the program declares so."""
        return export_program(self._program, self.inputs, self.outputs)

    def hard_samples(self) -> Sequence[Arrays]:
        """Zeros, negative and large numbers, the first and last index, padding."""
        return make_hard_samples(self._sizes)

    def files(self) -> Mapping[str, bytes | Path]:
        """No files: a bundle never contains code."""
        return {}

    def _find_batch_axes(
        self,
        inputs: Sequence[Sequence[str | None]],
        outputs: Sequence[Sequence[str | None]],
        request: ImportRequest,
    ) -> tuple[list[int | None], list[int | None]]:
        """For each input and output the axis that counts items; all None if there is none.

        A free size counts items if it is in every output, and each item's outputs are the same
        alone as in a batch.
        """
        own = _example_shapes(self._program)
        for symbols in _candidates(inputs, [spec.shape for spec in self.inputs]):
            axes = [_find_axis(symbols, each) for each in inputs]
            ends = [_find_axis(symbols, each) for each in outputs]
            if None in ends:
                continue
            specs = [_on_axis(spec, axis) for spec, axis in zip(self.inputs, axes, strict=True)]
            if self._is_batch(fill_sizes(specs, request, own), ends):
                return axes, ends
        return [None] * len(inputs), [None] * len(outputs)

    def _is_batch(self, specs: Sequence[TensorSpec], ends: Sequence[int | None]) -> bool:
        both = {spec.name: make_array(spec, 2, 5 + n) for n, spec in enumerate(specs)}
        one = {spec.name: _first(both[spec.name], spec.batch_axis) for spec in specs}
        try:
            together, alone = self.run(both), self.run(one)
        except Exception:
            return False
        pairs = zip(together.values(), alone.values(), ends, strict=True)
        return all(_is_same(_first(many, axis), single) for many, single, axis in pairs)


def _first(array: Array, axis: int | None) -> Array:
    return array if axis is None else array.take([0], axis)


def _is_same(first: Array, second: Array) -> bool:
    if first.shape != second.shape:
        return False
    if first.dtype.kind not in "fc" or not first.size:
        return bool((first == second).all())
    scale = float(np.max(np.abs(first), initial=0, where=np.isfinite(first)))
    return bool(np.allclose(first, second, rtol=0, atol=SAME * scale + 1e-9, equal_nan=True))


def _on_axis(spec: TensorSpec, axis: int | None) -> TensorSpec:
    return replace(spec, batch_axis=axis)


def _find_axis(symbols: set[str], sides: Sequence[str | None]) -> int | None:
    """The first axis whose size is one of the symbols."""
    return next((axis for axis, side in enumerate(sides) if side in symbols), None)


def _candidates(
    inputs: Sequence[Sequence[str | None]], shapes: Sequence[Shape]
) -> Iterator[set[str]]:
    """Sizes that may count items, most likely first: those of all first axes, or of any one axis.

    Inputs that are always of the same size may have different symbols for it. In a program exported
    with a batch of one, the other free sides are lengths.
    """
    first = [each[0] for each in inputs if each and each[0] is not None]
    others = [s for each in inputs for s in each[1:] if s is not None]
    if first:
        yield set(first)
    elif any(shape[:1] == (1,) for shape in shapes):
        return
    for symbol in dict.fromkeys([*first, *others]):
        yield {symbol}


def _example_shapes(program: torch.export.ExportedProgram) -> list[Shape]:
    """The shapes that the program was exported with; empty if the file does not have them."""
    import torch
    from torch.utils import _pytree

    leaves = _pytree.tree_leaves(program.example_inputs or ())
    return [tuple(leaf.shape) for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _sides(value: torch.Tensor) -> Shape:
    return tuple(side if isinstance(side, int) else None for side in value.shape)


def _symbols(value: torch.Tensor) -> list[str | None]:
    return [None if isinstance(side, int) else str(side) for side in value.shape]


def _read_arguments(
    program: torch.export.ExportedProgram, name: str
) -> list[tuple[str, torch.Tensor | float | str | None]]:
    """The inputs in order: a fake tensor with its shape, or the constant that an argument had.

    Raises `ConversionFailed` for an input that is neither.
    """
    import torch
    from torch.export.graph_signature import ConstantArgument, InputKind, TensorArgument

    values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    arguments: list[tuple[str, torch.Tensor | float | str | None]] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is not InputKind.USER_INPUT:
            continue
        value = values.get(spec.arg.name)
        if isinstance(spec.arg, ConstantArgument):
            arguments.append((spec.arg.name, spec.arg.value))
        elif isinstance(spec.arg, TensorArgument) and isinstance(value, torch.Tensor):
            arguments.append((spec.arg.name, value))
        else:
            raise ConversionFailed(
                f"The input {spec.arg.name!r} of {name} is a {type(value).__name__}, not a tensor.",
                hint="Export a module whose forward takes tensors.",
            )
    if not any(isinstance(value, torch.Tensor) for _, value in arguments):
        raise ConversionFailed(
            f"{name} has no inputs.", hint="Export a module whose forward takes tensors."
        )
    return arguments


def _read_results(
    program: torch.export.ExportedProgram, name: str
) -> list[tuple[str, torch.Tensor]]:
    """The outputs by name, as fake tensors. Raises `ConversionFailed` unless all are tensors."""
    from torch.export.graph_signature import ConstantArgument, OutputKind
    from torch.utils import _pytree

    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    flat = [
        spec.arg.value if isinstance(spec.arg, ConstantArgument) else values.get(spec.arg.name)
        for spec in program.graph_signature.output_specs
        if spec.kind is OutputKind.USER_OUTPUT
    ]
    try:
        return name_results(_pytree.tree_unflatten(flat, program.call_spec.out_spec))
    except (TypeError, ValueError) as error:
        raise ConversionFailed(
            f"{name} cannot be served: {first_line(error)}.",
            hint="Export a module that returns tensors, or a dictionary or tuple of them.",
        ) from error


def _check_stateless(program: torch.export.ExportedProgram, name: str) -> None:
    signature = program.graph_signature
    changed = {*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()}
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None or not schema.is_mutable:
            continue
        for argument, value in zip(schema.arguments, node.args, strict=False):
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and getattr(value, "op", "") == "placeholder":
                changed.add(signature.inputs_to_buffers.get(value.name, value.name))
    if changed:
        raise ConversionFailed(
            f"{name} changes {', '.join(sorted(map(str, changed))[:3])} on each call, as a graph"
            " cannot.",
            hint="Make it an input and an output of the module, and export it again.",
        )


def _find_limits(program: torch.export.ExportedProgram) -> dict[str, int]:
    """The number of rows of the embedding that each input of indices goes into."""
    limits: dict[str, int] = {}
    for node in program.graph.nodes:
        if node.op != "call_function" or "embedding" not in str(node.target):
            continue
        if len(node.args) < 2:
            continue
        rows, source = node.args[0].meta["val"].shape[0], node.args[1]
        while source.op == "call_function" and source.args and _keeps_values(str(source.target)):
            source = source.args[0]
        if source.op == "placeholder" and isinstance(rows, int):
            limits[source.name] = min(rows, limits.get(source.name, rows))
    return limits


def _keeps_values(target: str) -> bool:
    return any(word in target for word in ("view", "reshape", "_to_copy", "to.", "clone", "slice"))
