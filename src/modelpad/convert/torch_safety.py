"""What a PyTorch file may hold, read before PyTorch reads it.

`torch.export.load` unpickles some parts of a `.pt2` file and evaluates others; TorchScript runs
whatever operators it names. We allow only what is known to be PyTorch's own and plain, and refuse
everything else by name.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modelpad.convert.archives import unreadable
from modelpad.convert.torch_export import load_torch
from modelpad.errors import NotTrusted, first_line

STANDARD_OPERATORS = ("aten", "prim", "prims", "higher_order", "quantized")
# All that torch.export writes, behind the archive's own folder: what else it would load (compiled
# models, objects, programs under other names) is code, and file names it finds in any case.
ENTRIES = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/\w+|extra(_files)?/.*"
    r"|models/[\w.-]+\.json|data/sample_inputs/[\w.-]+\.pt"
    r"|data/weights/([\w.-]+(_config\.json|\.pt)|weight_\d+)"
    r"|data/constants/([\w.-]+(_config\.json|\.pt)|tensor_\d+)"
    r"|serialized_exported_program\.json"
    r"|serialized_(state_dict|constants|example_inputs)\.pt"
)
PAYLOADS = re.compile(r"(weight|tensor)_\d+")
TARGETS = re.compile(
    r"torch\.ops\.(aten\.(?!(save|load|from_file)\b)|prims\.|higher_order\.)[\w.]+"
    r"|torch\.sym_\w+|_operator\.\w+|math\.\w+"
    r"|torch\._higher_order_ops\.[\w.]+|#\w+(:[\w.]+)?"
)
# Sizes are written as SymPy writes them, and read by evaluating: Mul(Integer(2), Symbol('s0')).
SYMBOL_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Name, ast.Constant, ast.Load,
    ast.operator, ast.unaryop, ast.cmpop, ast.BoolOp, ast.boolop, ast.keyword,
)  # fmt: skip
SYMBOL_NAME = re.compile(r"[a-z]+\d*")
SYMBOL_CALLS = {
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Mod", "PythonMod", "FloorDiv",
    "CleanDiv", "CeilDiv", "Max", "Min", "Eq", "Ne", "Equality", "Unequality", "GreaterThan",
    "StrictGreaterThan", "LessThan", "StrictLessThan", "Ge", "Gt", "Le", "Lt", "Pow",
    "PowByNatural", "FloatPow", "Abs", "Where", "ModularIndexing", "FloorToInt", "CeilToInt",
    "RoundToInt", "TruncToInt", "ToFloat", "IntTrueDiv", "FloatTrueDiv", "Identity", "Not", "And",
    "Or",
}  # fmt: skip


def check_exported(path: Path, names: Sequence[str]) -> None:
    """Reads a `.pt2` file, whose entries are `names`, for what would run code.

    Raises:
        NotTrusted: it would run more than PyTorch's own operators.
        ConversionFailed: a part of it is damaged.
    """
    found = list(_find_strange_entries(names))
    with zipfile.ZipFile(path) as archive:
        pickled = [name for name in names if name.endswith(".pt")]
        for name in (name for name in names if name.endswith(".json")):
            try:
                record = json.loads(archive.read(name))
            except ValueError as error:
                raise unreadable(path, f"{name} is not JSON") from error
            found += _find_strange_targets(record)
            folder = name.rpartition("/")[0]
            pickled += [f"{folder}/{each}" for each in _find_pickled(record)]
        for name in (name for name in pickled if name in names):
            found += _find_code(name, archive.read(name))
    if found:
        raise NotTrusted(
            f"{path.name} would run more than PyTorch's own operators: {'; '.join(found[:4])}.",
            hint="If you made it or trust who did, import it with --trust.",
            found=found,
        )


def check_script(path: Path, names: Sequence[str]) -> None:
    """Reads a TorchScript file, whose entries are `names`, for the operators that it calls.

    Raises `NotTrusted` for such as are not PyTorch's own, or open files.
    """
    found = set()
    with zipfile.ZipFile(path) as archive:
        for name in names:
            if not name.endswith(".py"):
                continue
            text = archive.read(name).decode("utf-8", "replace")
            for space, operator in re.findall(r"\bops\.(\w+)\.(\w+)", text):
                if space not in STANDARD_OPERATORS:
                    found.add(f"{space}::{operator}")
            for operator in re.findall(r"\btorch\.(save|load|from_file)\(", text):
                found.add(f"aten::{operator}")
            if "__torch__.torch.classes." in text:
                found.add("a class of a library")
    if found:
        raise NotTrusted(
            f"{path.name} uses operators that are not PyTorch's own, or open files:"
            f" {', '.join(sorted(found)[:5])}.",
            hint="Trace or script the module without them.",
            found=sorted(found),
        )


def _find_strange_entries(names: Sequence[str]) -> Iterator[str]:
    folded = Counter(name.lower() for name in names)
    for name in names:
        inner = name.partition("/")[2]
        if not ENTRIES.fullmatch(name) and not ENTRIES.fullmatch(inner):
            yield f"the entry {name}"
        elif folded[name.lower()] > 1:
            yield f"several entries {name}"


def _walk(record: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON value, the outer before the inner."""
    if isinstance(record, dict):
        yield record
    if isinstance(record, dict | list):
        for value in record.values() if isinstance(record, dict) else record:
            yield from _walk(value)


def _find_strange_targets(record: Any) -> Iterator[str]:
    for each in _walk(record):
        target = each.get("target")
        if isinstance(target, str) and "inputs" in each and not TARGETS.fullmatch(target):
            yield f"a call of {target}"
        if "expr_str" in each and not _is_plain_expression(each["expr_str"]):
            yield f"the expression {str(each['expr_str'])[:60]!r}"
        if "path_name" in each and not PAYLOADS.fullmatch(str(each["path_name"])):
            yield f"an object in {each['path_name']}"


def _is_plain_expression(text: object) -> bool:
    """Whether a symbolic size is arithmetic of symbols, so that evaluating it is harmless."""
    try:
        tree = ast.parse(str(text), mode="eval")
    except (SyntaxError, ValueError):
        return False
    return all(_is_plain_node(node) for node in ast.walk(tree))


def _is_plain_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in SYMBOL_CALLS
    if isinstance(node, ast.Name):
        return node.id in SYMBOL_CALLS or bool(SYMBOL_NAME.fullmatch(node.id))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return bool(SYMBOL_NAME.fullmatch(node.value))
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float)
    return isinstance(node, SYMBOL_NODES)


def _find_pickled(record: Any) -> Iterator[str]:
    for each in _walk(record):
        if each.get("use_pickle") and isinstance(each.get("path_name"), str):
            yield each["path_name"]


def _find_code(name: str, body: bytes) -> Iterator[str]:
    if not body:
        return
    try:
        load_torch().load(io.BytesIO(body), weights_only=True)
    except Exception as error:
        yield f"a pickle in {name} ({first_line(error, 80)})"
