"""Which files an ONNX graph keeps its weights in, read without the `onnx` package.

ONNX Runtime opens whatever file a tensor names, so a bundle's reader has to know these names. The
graph is a protobuf message; only the fields on the way to a tensor's `external_data` are read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from modelpad.bundle.protobuf import walk

# onnx.proto: for each message, the fields that lead to tensors, by their numbers.
FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
    "Entry": {},
}
KEY, VALUE = 1, 2  # of an Entry


def find_locations(path: Path) -> set[str]:
    """The values of `location` of all tensors in the graph at `path`, as they are written.

    Raises:
        ValueError: it is not a protobuf message.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise ValueError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
            if body.find(b"location") < 0:
                return set()  # as in nearly every graph, at the speed of memory
            return set(_walk(body))


def _walk(body: mmap.mmap) -> Iterator[str]:
    left = [("Model", 0, len(body))]
    while left:
        kind, start, end = left.pop()
        inner = FIELDS[kind]
        entry: dict[int, str] = {}
        for number, first, last in walk(body, start, end):
            if number in inner:
                left.append((inner[number], first, last))
            elif kind == "Entry" and number in (KEY, VALUE):
                entry[number] = body[first:last].decode("utf-8")
        if entry.get(KEY) == "location":
            yield entry.get(VALUE, "")
