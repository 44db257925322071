"""Compares a source model with its graph on raw tensors, as the tensor protocols carry them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from modelpad.convert.source import SourceModel, TensorSpec


def check_raw_parity(source: SourceModel, sizes: dict[str, tuple[int, ...]] | None = None) -> Any:
    """The exported graph, after comparing it for several batch sizes and all hard samples.

    `sizes` are the sizes of single items, for inputs that leave them free.
    """
    import onnxruntime

    from modelpad.convert.torch_examples import make_array

    graph = source.export()
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    assert [value.name for value in session.get_inputs()] == [s.name for s in source.inputs]
    assert [value.name for value in session.get_outputs()] == [s.name for s in source.outputs]
    inputs = [set_item_shape(spec, (sizes or {}).get(spec.name)) for spec in source.inputs]
    batched = all(spec.batch_axis is not None for spec in (*source.inputs, *source.outputs))
    feeds = [
        {spec.name: make_array(spec, batch, batch) for spec in inputs}
        for batch in ((1, 4) if batched else (1,))
    ]
    for sample in source.hard_samples():
        feeds.append(
            {
                spec.name: sample[spec.name]
                if spec.batch_axis is None
                else np.expand_dims(sample[spec.name], spec.batch_axis)
                for spec in source.inputs
            }
        )
    for feed in feeds:
        expected = source.run(feed)
        results = session.run([spec.name for spec in source.outputs], feed)
        for spec, got in zip(source.outputs, results, strict=True):
            want: Any = expected[spec.name]
            assert (got.shape, str(got.dtype)) == (want.shape, spec.dtype)
            fits = zip(spec.shape, got.shape, strict=True)
            assert all(side in (None, made) for side, made in fits), (spec, got.shape)
            scale = np.abs(want).max() if want.size else 0
            np.testing.assert_allclose(got, want, atol=1e-4 * scale + 1e-6, rtol=0)
    return graph


def set_item_shape(spec: TensorSpec, sides: tuple[int, ...] | None) -> TensorSpec:
    """The spec with sides for an item, keeping its batch axis free."""
    if sides is None:
        return spec
    shape: list[int | None] = [*sides]
    if spec.batch_axis is not None:
        shape.insert(spec.batch_axis, None)
    return replace(spec, shape=tuple(shape))
