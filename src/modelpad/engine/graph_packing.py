"""`python -m modelpad.engine.graph_packing GRAPH FOLDER`: packs a graph, in a process of its own.

It writes the graph as ONNX Runtime has optimised it, and its weights as the kernels read them, and
checks that the two compute the same.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelpad.engine.graph import SessionSettings, make_options, open_graph
from modelpad.engine.operators import is_bounded
from modelpad.engine.packed_graph import GRAPH, WEIGHTS, Unshared, open_packed

if TYPE_CHECKING:
    from modelpad.fields.arrays import Arrays
    from modelpad.runtime import InferenceSession

MIN_TENSOR_BYTES = 1024  # smaller ones stay in the graph
CONFIG = {
    "session.optimized_model_external_initializers_file_name": WEIGHTS,
    "session.optimized_model_external_initializers_min_size_in_bytes": str(MIN_TENSOR_BYTES),
    "session.save_external_prepacked_constant_initializers": "1",
}


def main() -> None:
    """Raises what ONNX Runtime raises, and `Unshared` if the outputs differ."""
    graph, folder = (Path(word) for word in sys.argv[1:])
    settings = SessionSettings()
    options = make_options(settings)
    options.optimized_model_filepath = str(folder / GRAPH)
    for key, value in CONFIG.items():
        options.add_session_config_entry(key, value)
    original = open_graph(graph, options, settings)
    (folder / WEIGHTS).touch()  # a graph without large weights has no file
    if is_bounded(graph, [value.name for value in original.get_inputs()]):
        check_outputs(original, open_packed(folder, settings))


def check_outputs(original: InferenceSession, packed: InferenceSession) -> None:
    """Raises `Unshared` if the outputs differ for one item, if the graph accepts it."""
    inputs = make_inputs(original)
    names = [value.name for value in original.get_outputs()]
    try:
        expected = original.run(names, inputs)
    except Exception:
        return  # sides that depend on each other
    for name, one, other in zip(names, expected, packed.run(names, inputs), strict=True):
        if one.dtype.kind in "fc" and not np.allclose(one, other, 1e-4, 1e-5, equal_nan=True):
            raise Unshared(f"the packed graph computes another {name}")


def make_inputs(graph: InferenceSession) -> Arrays:
    """Random floats and zeros of other types, with sides of 1 where they are free."""
    random = np.random.default_rng(0)
    types = {"float": "float32", "double": "float64", "string": "object"}
    inputs = {}
    for value in graph.get_inputs():
        kind = value.type.removeprefix("tensor(").removesuffix(")")
        shape = [side if isinstance(side, int) else 1 for side in value.shape]
        dtype = np.dtype(types.get(kind, kind))
        floats = random.random(shape) if dtype.kind == "f" else np.zeros(shape)
        inputs[value.name] = floats.astype(dtype)
    return inputs


if __name__ == "__main__":
    main()
