"""The protocol's data types, and tensors as its bytes; shared by HTTP and gRPC."""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from modelpad.errors import InvalidInput, Unsupported
from modelpad.server.models import ServedModel
from modelpad.server.protocols.tensors import MAX_SIDES, count_elements

DATATYPES = {
    "bool": "BOOL",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
DTYPES = {name: dtype for dtype, name in DATATYPES.items()}
# By NumPy's little-endian type: to make a type's name takes longer than to look it up.
NUMERIC = {
    np.dtype(dtype).newbyteorder("<"): name for dtype, name in DATATYPES.items() if name != "BYTES"
}
ORDERED = {name: dtype for dtype, name in NUMERIC.items()}
# The protocol has a name for it, NumPy has no type.
BFLOAT16 = "BF16"

# An element of BYTES as a Python object, beside its bytes.
ELEMENT_BYTES = 64

REGION = "shared_memory_region"
# What the documentation of KServe and of MLServer calls the only input of a model without names.
ONLY_INPUTS = ("input-0", "predict")
UNNAMED = ("scikit-learn", "xgboost", "lightgbm", "catboost")


def name_datatype(dtype: str) -> str:
    """The protocol's name of a graph's type. Raises `Unsupported` for types that it does not have,
    such as `float8e4m3fn`.
    """
    if dtype == "bfloat16":
        return BFLOAT16
    if dtype not in DATATYPES:
        raise Unsupported(
            f"The Open Inference Protocol has no {dtype} tensors.",
            hint="Export the model with float32 inputs and outputs.",
        )
    return DATATYPES[dtype]


def check_datatype(datatype: str, name: str) -> None:
    """Raises `InvalidInput` for an unknown datatype, `Unsupported` for bfloat16."""
    if datatype == BFLOAT16:
        raise Unsupported(
            f"The input {name!r} is BF16, which NumPy does not have.",
            hint="Export the model with float32 inputs and outputs, and send FP32.",
        )
    if datatype not in DTYPES:
        raise wrong_field("datatype", f"one of {', '.join(DTYPES)} for {name!r}", datatype)


def check_parameters(parameters: Collection[str], name: str) -> None:
    """Raises `Unsupported` for a tensor that is not in the request but in shared memory."""
    if REGION in parameters:
        raise Unsupported(
            f"The tensor {name!r} is in shared memory, which modelpad does not use.",
            hint="Send the tensor in the request, and read outputs from the response.",
        )


def is_batched(model: ServedModel) -> bool:
    """Whether all tensors begin with a free batch axis, so that a request may have many items."""
    tensors = (*model.inputs, *model.outputs)
    return model.bundle.manifest.signature.batched and all(
        info.batch_axis == 0 and info.shape[0] == -1 for info in tensors
    )


def bind_only_input(
    model: ServedModel, arrays: Mapping[str, NDArray[np.generic]]
) -> Mapping[str, NDArray[np.generic]]:
    """The arrays by the model's names.

    Estimators take one array, which has no name: KServe and MLServer ignore the one in a request,
    and their documentation says `input-0` and `predict`. Names that a model has are never replaced.
    """
    if len(arrays) != 1 or len(model.inputs) != 1:
        return arrays
    ((given, array),) = arrays.items()
    if given in ONLY_INPUTS and model.bundle.manifest.source.get("framework") in UNNAMED:
        return {model.inputs[0].name: array}
    return arrays


def classify_output(
    model: ServedModel, name: str, array: NDArray[np.generic], max_classes: int
) -> NDArray[np.object_]:
    """`classify` of the items of an output; as in Triton, of a model without a batch it is one."""
    if is_batched(model):
        return classify(model, name, array, max_classes)
    best: NDArray[np.object_] = classify(model, name, array[np.newaxis], max_classes)[0]
    return best


def classify(
    model: ServedModel, name: str, array: NDArray[np.generic], max_classes: int
) -> NDArray[np.object_]:
    """The best classes of each item as Triton writes them: `score:index:label`.

    Raises `InvalidInput` for text, which has no order.
    """
    if array.dtype.kind in "OSU":
        raise wrong_field("classification", f"for numbers, which {name!r} are not", "text")
    items = array.reshape(len(array) if array.ndim else 1, -1).astype(np.float64)
    classes = model.find_classes(name, items.shape[1])
    rows = []
    for row in items:
        best = np.argsort(-row, kind="stable")[:max_classes]
        rows.append(
            [
                f"{row[index]:f}:{index}" + (f":{classes[index]}" if classes else "")
                for index in best
            ]
        )
    return np.array(rows, dtype=object)


def pack_tensor(array: NDArray[np.generic]) -> bytes:
    """Little-endian, row by row; text with its length before it."""
    if array.dtype.kind not in "OSU":
        ordered = np.ascontiguousarray(array)
        return ordered.astype(ordered.dtype.newbyteorder("<"), copy=False).tobytes()
    parts = []
    for one in array.reshape(-1).tolist():
        text = one if isinstance(one, bytes) else str(one).encode("utf-8")
        parts += [struct.pack("<I", len(text)), text]
    return b"".join(parts)


def estimate_elements(size: int, shape: Sequence[int]) -> int:
    """The memory, in bytes, of the objects that BYTES of this size become: copies of each."""
    named = math.prod(max(0, side) for side in shape[:MAX_SIDES])  # more sides are refused
    return size + ELEMENT_BYTES * min(size // 4, named)


def unpack_tensor(
    data: bytes | memoryview, datatype: str, shape: Sequence[int], name: str
) -> NDArray[np.generic]:
    """The array in `data`, not copied where it is made of numbers. Raises `InvalidInput`."""
    count = count_elements(shape, name)
    if datatype == "BYTES":
        return np.array(_unpack_bytes(data, count, name), dtype=object).reshape(shape)
    dtype = ORDERED[datatype]
    if len(data) != count * dtype.itemsize:
        raise InvalidInput(
            f"unexpected size of input {name!r}: {len(data)} bytes, expected"
            f" {count * dtype.itemsize} for {datatype} {list(shape)}",
            field=name,
            expected=f"{count * dtype.itemsize} bytes",
            got=f"{len(data)} bytes",
        )
    return np.frombuffer(data, dtype).reshape(shape)


def _unpack_bytes(data: bytes | memoryview, count: int, name: str) -> list[bytes]:
    found: list[bytes] = []
    place = 0
    while place + 4 <= len(data) and len(found) < count:
        (size,) = struct.unpack_from("<I", data, place)
        place += 4
        if place + size > len(data):
            break
        found.append(bytes(data[place : place + size]))
        place += size
    if len(found) != count or place != len(data):
        raise InvalidInput(
            f"the BYTES of input {name!r} do not hold {count} elements, each with its length",
            field=name,
            expected=f"{count} elements",
            got=f"{len(found)} whole ones in {len(data)} bytes",
        )
    return found


def wrong_field(field: str, expected: str, got: object) -> InvalidInput:
    """The error for a field of a request that is not as expected."""
    return InvalidInput(
        f"The request's {field!r} should be {expected}, not {str(got)[:60]}.",
        hint="See: https://github.com/kserve/open-inference-protocol",
        field=field,
        expected=expected,
        got=str(got)[:60],
    )
