"""Makes a `.pt2` file safe to load, by checking everything that PyTorch acts on.

`torch.export.load` unpickles, evaluates, compiles and imports by the content of the file: pickled
tensors, symbolic sizes, guards, names of graph inputs (inserted into generated code unescaped),
containers' contexts, and operators looked up by any dotted name. So every string that reaches one
of these is matched against what `torch.export.save` writes, operators are matched against a list of
those that only compute, and the rest (guards, metadata) is omitted from the copy. PyTorch loads the
copy, because PyTorch and Python can read a specially crafted archive differently.

There is no such check for TorchScript: its code is a program, and loading it may already run it.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import math
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelpad.convert.archives import ArchiveLimits, unreadable
from modelpad.convert.torch_containers import without_foreign_containers
from modelpad.convert.torch_export import load_torch
from modelpad.errors import NotTrusted, TooLarge, first_line
from modelpad.foreign_json import Json, load_json

if TYPE_CHECKING:
    import torch

# All entries that torch.export writes, below the archive's own folder. Anything else that it would
# load (compiled models, objects, programs under other names) is code. It ignores case.
ENTRIES = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/\w+|extra(_files)?/.*"
    r"|models/[\w.-]+\.json|data/sample_inputs/[\w.-]+\.pt"
    r"|data/weights/([\w.-]+(_config\.json|\.pt)|weight_\d+)"
    r"|data/constants/([\w.-]+(_config\.json|\.pt)|tensor_\d+)"
    r"|serialized_exported_program\.json"
    r"|serialized_(state_dict|constants|example_inputs)\.pt"
)
EXTRA = re.compile(r"([\w.-]+/)?extra(_files)?/.*")
PAYLOADS = re.compile(r"(weight|tensor)_\d+")
BYTES_PER_ELEMENT = 16  # of the widest dtype

# Arithmetic on sizes. Powers and shifts are excluded: 9**9**9 never ends.
SIZE_FUNCTIONS = {
    "_operator.eq", "_operator.ne", "_operator.le", "_operator.ge", "_operator.lt", "_operator.gt",
    "_operator.neg", "_operator.pos", "_operator.mul", "_operator.add", "_operator.sub",
    "_operator.floordiv", "_operator.mod", "_operator.truediv", "_operator.and_", "_operator.or_",
    "torch.sym_not", "torch.sym_int", "torch.sym_float", "torch.sym_ite", "torch.sym_max",
    "torch.sym_min", "torch.sym_sum", "torch.sym_sqrt", "math.trunc",
}  # fmt: skip
# Operators that call a graph in the same file, once or once per row. A while_loop may never end.
GRAPH_CALLS = {
    "torch.ops.higher_order.cond",
    "torch.ops.higher_order.scan",
    "torch.ops.higher_order.map_impl",
    "torch.ops.higher_order.wrap_with_set_grad_enabled",
    "torch.ops.higher_order.wrap_with_autocast",
}
# PyTorch's private operators check their arguments less. These appear in exported programs.
PRIVATE_OPERATORS = re.compile(
    r"__(and|or|xor|lshift|rshift)__|_adaptive_avg_pool[23]d|_assert_(async|scalar|tensor_metadata)"
    r"|_cast_\w+|_cdist_forward|_conj(_copy)?|_convolution(_mode)?|_dim_arange|_embedding_bag"
    r"|_euclidean_dist|_fft_(c2c|c2r|r2c)|_functional_assert_(async|scalar)|_fused_rms_norm"
    r"|_grouped_mm|_linalg_det|_linalg_eigh|_linalg_svd|_local_scalar_dense|_log_softmax"
    r"|_native_batch_norm_legit\w*|_native_multi_head_attention|_pad_(circular|enum)|_pdist_forward"
    r"|_prelu_kernel|_reshape_alias|_safe_softmax|_scaled_dot_product_\w+|_shape_as_tensor"
    r"|_softmax|_to_copy|_transformer_encoder_layer_fwd|_trilinear|_unique2?|_unsafe_index(_put)?"
    r"|_unsafe_view|_upsample_\w+|_weight_norm(_interface)?"
)
# String arguments that only select how to compute.
TEXT_ARGUMENTS = {
    "approximate", "assert_msg", "driver", "equation", "indexing", "interpolation", "mode", "norm",
    "ord", "p", "pad_mode", "padding", "padding_side", "reduce", "rounding_mode", "side", "UPLO",
}  # fmt: skip
PLAIN_ARGUMENTS = re.compile(
    r"(?:Optional|List|\[|\]|Tensor|int|float|bool|complex|number|Device|Generator|str)+"
)
SIDE_EFFECTS = {"from_file", "save", "warn", "manual_seed", "set_grad_enabled", "record_stream"}

IDENTIFIER = re.compile(r"[A-Za-z_]\w*|")  # HOPs' arguments have no names
DOTTED = re.compile(r"[\w.-]*")
NAMES = {"name", "as_name", "user_input_name", "custom_obj_name"}
DOTTED_NAMES = {"fqn", "parameter_name", "buffer_name", "tensor_constant_name"}
CONTAINERS = {
    "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict",
    "torch.fx.immutable_collections.immutable_list",
    "torch.fx.immutable_collections.immutable_dict",
}  # fmt: skip

# Sizes are SymPy expressions, which PyTorch evaluates: Mul(Integer(2), Symbol('s0')).
MAX_SIZE_LENGTH, MAX_NUMBER, MAX_POWER = 2000, 1 << 63, 8
SIZE_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Name, ast.Constant, ast.Load,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.unaryop, ast.cmpop,
    ast.BoolOp, ast.boolop, ast.keyword,
)  # fmt: skip
SYMBOL_NAME = re.compile(r"[a-z]+\d*")
POWERS = {"Pow", "PowByNatural", "FloatPow"}
SIZE_CALLS = POWERS | {
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Mod", "PythonMod", "FloorDiv",
    "CleanDiv", "CeilDiv", "Max", "Min", "Eq", "Ne", "Equality", "Unequality", "GreaterThan",
    "StrictGreaterThan", "LessThan", "StrictLessThan", "Ge", "Gt", "Le", "Lt", "Abs", "Where",
    "ModularIndexing", "FloorToInt", "CeilToInt", "RoundToInt", "TruncToInt", "ToFloat",
    "IntTrueDiv", "FloatTrueDiv", "Identity", "Not", "And", "Or",
}  # fmt: skip


def copy_trusted(path: Path, names: Sequence[str], target: Path) -> None:
    """Copies the `.pt2` file at `path` unchecked, without other packages' containers."""
    with zipfile.ZipFile(path) as archive:
        records: dict[str, Json] = {}
        for name in (name for name in names if name.endswith(".json")):
            with contextlib.suppress(ValueError):
                records[name] = without_foreign_containers(load_json(archive.read(name)))
        _write_copy(archive, names, records, target)


def copy_exported(path: Path, names: Sequence[str], target: Path) -> None:
    """Checks the `.pt2` file at `path`, with the entries `names`, and copies it to `target`.

    In the copy, other packages' containers are dictionaries.

    Raises:
        NotTrusted: it would run more than PyTorch's own operators.
        TooLarge: its tensors are declared far larger than their data.
        ConversionFailed: a part of it is damaged.
    """
    found = list(_find_unknown_entries(names))
    records: dict[str, Json] = {}
    with zipfile.ZipFile(path) as archive:
        pickled = [name for name in names if name.endswith(".pt")]
        for name in (name for name in names if name.endswith(".json")):
            if EXTRA.fullmatch(name):
                continue
            try:
                record = without_foreign_containers(load_json(archive.read(name)))
            except ValueError as error:
                raise unreadable(path, f"{name} is not JSON: {error}") from error
            found += _find_disallowed(record)
            _check_sizes(path, name, record)
            folder = name.rpartition("/")[0]
            pickled += [f"{folder}/{each}" for each in _find_pickled(record)]
            records[name] = _without_metadata(record)
        for name in (name for name in pickled if name in names):
            found += _find_code(name, archive.read(name))
        if found:
            raise NotTrusted(
                f"{path.name} would run more than PyTorch's own operators: {'; '.join(found[:4])}.",
                hint="If you made it or trust its author, import it with --trust.",
                found=found,
            )
        _write_copy(archive, [n for n in names if not EXTRA.fullmatch(n)], records, target)


def _write_copy(
    archive: zipfile.ZipFile, names: Sequence[str], records: Mapping[str, Json], target: Path
) -> None:
    with zipfile.ZipFile(target, "w") as copy:
        for name in names:
            if name in records:
                copy.writestr(name, json.dumps(records[name]))
                continue
            with archive.open(name) as before, copy.open(name, "w", force_zip64=True) as after:
                shutil.copyfileobj(before, after, 1 << 20)


def _find_unknown_entries(names: Sequence[str]) -> Iterator[str]:
    folded = Counter(name.lower() for name in names)
    for name in names:
        inner = name.partition("/")[2]
        if not ENTRIES.fullmatch(name) and not ENTRIES.fullmatch(inner):
            yield f"the entry {name}"
        elif folded[name.lower()] > 1:
            yield f"several entries {name}"


def _walk(record: Json) -> Iterator[dict[str, Json]]:
    """All objects in a JSON value, outer objects first."""
    if isinstance(record, dict):
        yield record
    if isinstance(record, dict | list):
        for value in record.values() if isinstance(record, dict) else record:
            yield from _walk(value)


def _find_disallowed(record: Json) -> Iterator[str]:
    """Everything in a program's JSON that could run code."""
    for each in _walk(record):
        for key, value in each.items():
            if value is None:
                continue
            if key in ("target", "as_operator") and not _is_known_call(value):
                yield f"a call of {str(value)[:80]}"
            elif key == "expr_str" and not _is_plain_size(value):
                yield f"the expression {str(value)[:60]!r}"
            elif key == "path_name" and not PAYLOADS.fullmatch(str(value)):
                yield f"an object in {str(value)[:60]}"
            elif key == "as_custom_obj":
                yield f"a custom object {str(value)[:60]}"
            elif key in ("in_spec", "out_spec") and not _is_plain_structure(value):
                yield f"the container {str(value)[:60]!r}"
            elif key == "forward_arg_names" and not _are_names(value):
                yield f"the arguments {str(value)[:60]}"
            elif not _is_plain_name(key, value):
                yield f"the name {str(value)[:60]!r}"


def _is_plain_name(key: str, value: object) -> bool:
    if key in NAMES:
        return isinstance(value, str) and bool(IDENTIFIER.fullmatch(value))
    if key in DOTTED_NAMES:
        return isinstance(value, str) and bool(DOTTED.fullmatch(value))
    return True


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(_is_plain_name("name", each) for each in value)


def _is_known_call(target: Json) -> bool:
    """Whether a node's target only computes."""
    if not isinstance(target, str):
        return False
    if target in SIZE_FUNCTIONS or target in GRAPH_CALLS:
        return True
    found = re.fullmatch(r"torch\.ops\.(aten|prims)\.(\w+)\.(\w+)", target)
    if found is None:
        return False
    space, name, overload = found.groups()
    if name in SIDE_EFFECTS or (name.startswith("_") and not PRIVATE_OPERATORS.fullmatch(name)):
        return False
    try:
        operator = getattr(getattr(getattr(load_torch().ops, space), name), overload)
        arguments = operator._schema.arguments
    except (AttributeError, RuntimeError):
        return False
    return all(_is_plain_argument(each) for each in arguments)


def _is_plain_argument(argument: torch.Argument) -> bool:
    kind = str(argument.type)
    return bool(PLAIN_ARGUMENTS.fullmatch(kind)) and (
        "str" not in kind or argument.name in TEXT_ARGUMENTS
    )


def _is_plain_structure(text: object) -> bool:
    """Whether a serialized tree consists of plain containers with plain names as keys.

    PyTorch imports modules that a tree names, for enumerations and default factories, and inserts
    dictionary keys into generated code.
    """
    try:
        parsed = load_json(str(text))
        if not isinstance(parsed, list) or len(parsed) != 2:
            return False
        return all(_is_plain_container(each) for each in _walk(parsed[1]))
    except (ValueError, TypeError):
        return False


def _is_plain_container(record: dict[str, Json]) -> bool:
    kind = record.get("type")
    if kind is not None and (not isinstance(kind, str) or kind not in CONTAINERS):
        return False
    if set(record) != {"type", "context", "children_spec"}:
        return False
    context = record["context"]
    keys = load_json(context) if isinstance(context, str) else context
    if not isinstance(keys, list):
        return keys is None
    return all(isinstance(key, int) or DOTTED.fullmatch(str(key)) for key in keys)


def _is_plain_size(text: object) -> bool:
    """Whether a symbolic size is plain arithmetic, so that evaluating it is harmless."""
    if not isinstance(text, str) or len(text) > MAX_SIZE_LENGTH:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    nodes = list(ast.walk(tree))
    powers = [node for node in nodes if _is_power(node)]
    small = len(powers) <= 1 and all(_is_small_power(node) for node in powers)
    return small and all(_is_plain_node(node) for node in nodes)


def _is_power(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in POWERS
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)


def _is_small_power(node: ast.AST) -> bool:
    exponent: ast.AST | None = None
    if isinstance(node, ast.BinOp):
        exponent = node.right
    elif isinstance(node, ast.Call) and len(node.args) == 2:
        exponent = node.args[1]
    if isinstance(exponent, ast.Call) and len(exponent.args) == 1:
        exponent = exponent.args[0]  # Integer(2)
    value = exponent.value if isinstance(exponent, ast.Constant) else None
    return isinstance(value, int) and value <= MAX_POWER


def _is_plain_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in SIZE_CALLS
    if isinstance(node, ast.Name):
        return node.id in SIZE_CALLS or bool(SYMBOL_NAME.fullmatch(node.id))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return bool(SYMBOL_NAME.fullmatch(node.value))
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and abs(node.value) <= MAX_NUMBER
    return isinstance(node, SIZE_NODES)


def _check_sizes(path: Path, name: str, record: Json) -> None:
    """Raises `TooLarge` for weights declared far larger than the file, with strides of 0."""
    if not name.endswith("_config.json"):
        return
    total = 0
    for each in _walk(record):
        sizes = []
        for size in _list_sizes(each):
            if not isinstance(size, int) or size < 0:
                raise unreadable(path, f"{name} contains a size that is not a number")
            sizes.append(size)
        total += BYTES_PER_ELEMENT * math.prod(sizes)
    limit = max(path.stat().st_size, 1 << 20) * ArchiveLimits().ratio
    if total > limit:
        raise TooLarge(
            f"{path.name} declares tensors far larger than their data.",
            hint="Do not use this file.",
            limit=limit,
            got=total,
        )


def _list_sizes(record: dict[str, Json]) -> list[Json]:
    sizes = record.get("sizes")
    if not isinstance(sizes, list):
        return [] if not sizes else [None]
    return [size.get("as_int") if isinstance(size, dict) else None for size in sizes]


def _without_metadata(record: Json) -> Json:
    """A copy without guards and node metadata: they are not needed, and may be evaluated."""
    if isinstance(record, list):
        return [_without_metadata(each) for each in record]
    if not isinstance(record, dict):
        return record
    empty: dict[str, Json] = {"guards_code": [], "metadata": {}}
    return {key: empty[key] if key in empty else _without_metadata(v) for key, v in record.items()}


def _find_pickled(record: Json) -> Iterator[str]:
    for each in _walk(record):
        path_name = each.get("path_name")
        if each.get("use_pickle") and isinstance(path_name, str):
            yield path_name


def _find_code(name: str, body: bytes) -> Iterator[str]:
    if not body:
        return
    try:
        load_torch().load(io.BytesIO(body), weights_only=True)
    except Exception as error:
        yield f"a pickle in {name} ({first_line(error, 80)})"
