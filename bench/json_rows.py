"""What reading the rows of TensorFlow Serving's JSON costs, beside one flat list of the numbers.

usage: python bench/json_rows.py
"""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable

import msgspec
import numpy as np

from modelpad.server.protocols.number_rows import read_fields
from modelpad.server.protocols.tfserving_inputs import read_rows

SHAPES = ((1, 28, 28), (1, 28, 28, 1), (8, 28, 28, 1), (1, 224, 224, 3), (1, 64))
REPEATS = 40
NUMBERS = 20_000  # read in each repeat


def measure(read: Callable[[], object], count: int) -> float:
    """Microseconds, the least of many repeats."""
    return 1e6 * min(timeit.repeat(read, number=count, repeat=REPEATS)) / count


def main() -> None:
    """Prints a table in Markdown."""
    print("| rows | bytes | lists, µs | arrays, µs | one flat list, µs |")
    print("| --- | --- | --- | --- | --- |")
    for shape in SHAPES:
        numbers = np.random.default_rng(0).random(shape).astype(np.float32)
        body = json.dumps({"instances": numbers.tolist()}).encode()
        flat = json.dumps({"data": numbers.reshape(-1).tolist()}).encode()

        def read_lists(body: bytes = body) -> object:
            return read_rows(msgspec.json.decode(body)["instances"], ["image"])

        def read_arrays(body: bytes = body) -> object:
            fields = read_fields(body)
            assert isinstance(fields, dict)
            return read_rows(fields["instances"], ["image"])

        def read_flat(flat: bytes = flat) -> object:
            return np.asarray(msgspec.json.decode(flat)["data"])

        count = max(1, NUMBERS // numbers.size)
        times = [measure(read, count) for read in (read_lists, read_arrays, read_flat)]
        named = " x ".join(map(str, shape))
        print(f"| {named} | {len(body):,} | " + " | ".join(f"{each:,.0f}" for each in times) + " |")


if __name__ == "__main__":
    main()
