"""Names the tensors in what a module returns, and finds which of them depend on training mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from modelpad.errors import ConversionFailed

if TYPE_CHECKING:
    import torch


def name_results(result: object) -> list[tuple[str, torch.Tensor]]:
    """A module's results by name: a dictionary's keys, or output_0, output_1, ...

    A single tensor is `output`. Names of nested results are joined with dots: `cache.0.key`. None
    is omitted. Raises `TypeError` if anything else is not a tensor.
    """
    import torch

    if isinstance(result, torch.Tensor):
        return [("output", result)]
    named: list[tuple[str, torch.Tensor]] = []
    for name, value in _walk("", result):
        if value is None:
            continue
        if not isinstance(value, torch.Tensor):
            where = f"{name} in its result" if name else "its result"
            raise TypeError(f"{where} is a {type(value).__name__}, not a tensor")
        named.append((name, value))
    if not named:
        raise TypeError("its result contains no tensor")
    return named


def _walk(name: str, value: object) -> Iterator[tuple[str, object]]:
    items: list[tuple[str, object]]
    if isinstance(value, Mapping):
        items = [(str(key), each) for key, each in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        prefix = "" if name else "output_"
        items = [(f"{prefix}{index}", each) for index, each in enumerate(value)]
    else:
        yield name, value
        return
    for key, each in items:
        yield from _walk(f"{name}.{key}" if name else key, each)


def numpy_dtype(tensor: torch.Tensor, name: str) -> str:
    """NumPy's name of a tensor's dtype. Raises `ConversionFailed` if NumPy has none."""
    import torch

    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.dtype in (torch.bfloat16, torch.complex32) or dtype.startswith(("float8", "q")):
        raise ConversionFailed(
            f"The tensor {name!r} has the dtype {dtype}, which NumPy does not have.",
            hint="Convert the module with model.float(), and export it again.",
        )
    return dtype


def find_training(program: torch.export.ExportedProgram) -> list[str]:
    """The operators of a program that behave as in training: dropout and normalisation."""
    found = []
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            continue
        given = {a.name: v for a, v in zip(schema.arguments, node.args, strict=False)} | node.kwargs
        training = any(given.get(key) is True for key in ("train", "training", "use_input_stats"))
        harmless = given.get("p") in (0, 0.0)
        if training and not harmless:
            found.append(schema.name.partition("::")[2])
    return list(dict.fromkeys(found))


def find_script_training(module: torch.jit.ScriptModule) -> list[str]:
    """The operators of a TorchScript module that were recorded in training mode."""
    found = []
    for node in _nodes(module.inlined_graph):
        kind = node.kind().removeprefix("aten::")
        if kind not in ("dropout", "dropout_", "feature_dropout", "batch_norm", "alpha_dropout"):
            continue
        position = 5 if kind == "batch_norm" else 2
        value = [*node.inputs()][position]
        if value.node().kind() == "prim::Constant" and bool(value.toIValue()):
            found.append(kind)
    return list(dict.fromkeys(found))


def _nodes(block: torch._C.Graph | torch._C.Block) -> Iterator[torch._C.Node]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def training_mode(name: str, found: Sequence[str], how: str) -> ConversionFailed:
    """The error for a file that was saved in training mode, with the operators that show it."""
    return ConversionFailed(
        f"{name} was saved in training mode: {', '.join(found)} would change its outputs at random"
        " or with the batch.",
        hint=f"Call model.eval() before {how}.",
    )
