"""The protocol's data types, and tensors as its bytes; shared by HTTP and gRPC."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelpad.errors import InvalidInput
from modelpad.server.models import ServedModel
from modelpad.server.protocols.tensors import count_elements

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


def unpack_tensor(
    data: bytes | memoryview, datatype: str, shape: Sequence[int], name: str
) -> NDArray[np.generic]:
    """The array in `data`, not copied where it is made of numbers. Raises `InvalidInput`."""
    count = count_elements(shape, name)
    if datatype == "BYTES":
        return np.array(_unpack_bytes(data, count, name), dtype=object).reshape(shape)
    dtype = np.dtype(DTYPES[datatype]).newbyteorder("<")
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
