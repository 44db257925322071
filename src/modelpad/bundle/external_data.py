"""Finds the files in which an ONNX graph stores its weights, without the `onnx` package.

ONNX Runtime opens any file that a tensor names, so opening a bundle must check these names first.
Of the graph's protobuf message, only the fields that lead to a tensor's `external_data` are read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from modelpad.bundle.protobuf import walk

# Field numbers of onnx.proto: for each message, the fields that lead to tensors.
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
    """Every tensor's `location` in the graph at `path`, unmodified.

    Raises:
        ValueError: the file is not a protobuf message.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise ValueError("the file is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
            if body.find(b"location") < 0:
                return set()  # true of nearly every graph, and fast
            return set(_walk(body))


def _walk(body: mmap.mmap) -> Iterator[str]:
    messages = [("Model", 0, len(body))]
    while messages:
        kind, start, end = messages.pop()
        children = FIELDS[kind]
        entry: dict[int, str] = {}
        for number, first, last in walk(body, start, end):
            if number in children:
                messages.append((children[number], first, last))
            elif kind == "Entry" and number in (KEY, VALUE):
                entry[number] = body[first:last].decode("utf-8")
        if entry.get(KEY) == "location":
            yield entry.get(VALUE, "")
