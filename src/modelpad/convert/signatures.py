"""The signatures of a TensorFlow model: named functions, each with its inputs and outputs.

A SavedModel and a `.tflite` file may have several. This module does not depend on TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from modelpad.convert.source import TensorSpec
from modelpad.errors import ConversionFailed, UsageError
from modelpad.fields.arrays import Arrays

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True, slots=True)
class SignatureSpec:
    """The inputs and outputs of one signature, sorted by name.

    `reason` says why the signature cannot be imported; it is empty if it may be. `function` is a
    digest of what it computes, empty if unknown: signatures with equal ones are the same.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    reason: str = ""
    function: str = ""


def choose_signature(names: Sequence[str], wanted: str | None, path: Path) -> str:
    """The signature `wanted`, else `serving_default`, else the only one.

    Raises:
        UsageError: there is no such signature, or the user must choose one.
        ConversionFailed: there are none.
    """
    if not names:
        raise ConversionFailed(
            f"{path.name} has no signatures.",
            hint="Save it with tf.saved_model.save(model, folder, signatures=...).",
        )
    known = f"{path.name} has the signatures {', '.join(sorted(names))}"
    if wanted is not None:
        if wanted not in names:
            raise UsageError(f"There is no signature {wanted!r}: {known}.", hint="Choose another.")
        return wanted
    if DEFAULT_SIGNATURE in names:
        return DEFAULT_SIGNATURE
    if len(names) > 1:
        raise UsageError(f"{known}, none of which is the default.", hint="Choose: --signature NAME")
    return names[0]


def describe_signature(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], reason: str = ""
) -> SignatureSpec:
    """A signature with the batch axes that its shapes suggest.

    The first axis counts items if it is free (or 1) for some input and for all outputs. Other
    inputs, such as scalars, have no batch axis.
    """
    for side in (None, 1):
        counted = [spec for spec in inputs if spec.shape[:1] == (side,)]
        if counted and outputs and all(spec.shape[:1] == (side,) for spec in outputs):
            axes = [0 if spec in counted else None for spec in inputs]
            break
    else:
        axes = [None] * len(inputs)
    batched = any(axis == 0 for axis in axes)
    return SignatureSpec(
        tuple(replace(spec, batch_axis=axis) for spec, axis in zip(inputs, axes, strict=True)),
        tuple(replace(spec, batch_axis=0 if batched else None) for spec in outputs),
        reason,
    )


def run_in_chunks(
    run: Callable[[Arrays], Arrays], inputs: Sequence[TensorSpec], batch: Arrays
) -> Arrays:
    """Runs a model whose batch axis may be fixed to one item, on any number of items."""
    fixed = [spec.name for spec in inputs if spec.batch_axis == 0 and spec.shape[0] == 1]
    if not fixed or len(batch[fixed[0]]) == 1:
        return run(batch)
    chunks = [run(_pick(batch, fixed, index)) for index in range(len(batch[fixed[0]]))]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _pick(batch: Arrays, names: Sequence[str], index: int) -> Arrays:
    return batch | {name: batch[name][index : index + 1] for name in names}
