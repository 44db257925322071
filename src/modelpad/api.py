"""What a program calls: `modelpad.save` puts a live model into the store."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelpad.bundle import write_bundle
from modelpad.cli.settings import Settings
from modelpad.convert import Conversion, ImportRequest, convert_model, open_object
from modelpad.store import Entry, LocalStore


def save(
    model: Any,
    name: str,
    *,
    inputs: str | Sequence[str] = (),
    outputs: str | Sequence[str] = (),
    samples: Any = None,
    example: Any = None,
    quantize: str | None = None,
    tolerance: float | None = None,
    store: str | Path | None = None,
) -> Entry:
    """Saves a live model as the next version of `name`, once it is proved to be the same.

        modelpad.save(model, "digits", inputs="sketch:28x28", outputs="labels:0,1,2,3,4,5,6,7,8,9")

    `model` is a Keras, PyTorch, scikit-learn, XGBoost, LightGBM, fastai or ONNX model. `inputs` and
    `outputs` are what `modelpad import --input` and `--output` take. `samples` is a path, or one
    value a sample (`{input: values}` for several inputs): arrays for tensors; (H, W, C) uint8,
    Pillow images or paths for pictures; strings for text. A PyTorch module also needs an
    `example`: a tensor, or a tuple of its arguments, a batch each.

    Answers the entry of the store: `name`, `version`, `folder`.

    Raises:
        UsageError: inputs, outputs, samples or the missing example make no sense.
        ConversionFailed: the model cannot be turned into a graph.
        ParityFailed: the graph does not answer as the model does; nothing is saved.
        MissingExtra: a package for this framework is not installed.
    """
    request = ImportRequest(
        inputs=(inputs,) if isinstance(inputs, str) else tuple(inputs),
        outputs=(outputs,) if isinstance(outputs, str) else tuple(outputs),
        samples=Path(samples) if isinstance(samples, str) else samples,
        quantize=quantize,
        tolerance=tolerance,
    )
    target = LocalStore(Settings.from_environment(Namespace(store=store)).store)
    target.check_writable()
    conversion = convert_model(open_object(model, request, example), name, request)
    return push_conversion(target, conversion)


def push_conversion(store: LocalStore, conversion: Conversion) -> Entry:
    """Writes the bundle of a conversion and pushes it as the next version."""
    with tempfile.TemporaryDirectory(prefix="modelpad-") as folder:
        files = conversion.files
        bundle = write_bundle(Path(folder) / "bundle", conversion.manifest, files)
        return store.push(bundle)
