"""`modelpad.save`: saves an in-memory model to the store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelpad.bundle import write_bundle
from modelpad.convert import Conversion, ImportRequest, convert_model, open_object
from modelpad.convert.card import read_card
from modelpad.locations import locate_store
from modelpad.store import Entry, Store, open_store


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
    backend: str = "onnx",
    title: str = "",
    summary: str = "",
    author: str = "",
    licence: str = "",
    card: str | Path | None = None,
    store: str | Path | None = None,
) -> Entry:
    """Saves an in-memory model as the next version of `name`, after a parity check.

        modelpad.save(model, "pets", inputs="image:64x64x3,scale=0..1", outputs="labels:cat,dog")

    `model` is a Keras, PyTorch, scikit-learn, XGBoost, LightGBM, fastai or ONNX model. `inputs` and
    `outputs` have the syntax of `modelpad import --input` and `--output`. `samples` is a path, or
    one value for each sample (`{input: values}` for several inputs): arrays for tensors;
    (H, W, C) uint8 arrays, Pillow images or paths for images; strings for text. A PyTorch module
    also needs an `example`: a tensor, or a tuple of its arguments, each a batch. The page shows
    `title`, `summary`, `author` and `licence`, and the Markdown file `card` without its HTML.
    `backend` is `onnx`, or `native` to keep the framework's own file and run it in that framework.

    Returns the entry in the store: `name`, `version`, `folder`.

    Raises:
        UsageError: inputs, outputs, samples or backend make no sense, the example is missing, or
            the card cannot be read.
        ConversionFailed: the model cannot be converted to a graph.
        ParityFailed: the graph's predictions differ from the model's; nothing is saved.
        MissingExtra: a package for this framework is not installed.
    """
    request = ImportRequest(
        inputs=(inputs,) if isinstance(inputs, str) else tuple(inputs),
        outputs=(outputs,) if isinstance(outputs, str) else tuple(outputs),
        samples=Path(samples) if isinstance(samples, str) else samples,
        quantize=quantize,
        tolerance=tolerance,
        backend=backend,
        title=title,
        summary=summary,
        author=author,
        licence=licence,
        card=read_card(Path(card)) if card else "",
    )
    target = open_store(locate_store(store, os.environ))
    target.check_writable()
    conversion = convert_model(open_object(model, request, example), name, request)
    return push_conversion(target, conversion)


def push_conversion(store: Store, conversion: Conversion, version: int | None = None) -> Entry:
    """Writes the bundle of a conversion and pushes it to the store as the next version.

    It becomes `version`, if that is higher than any version before.
    """
    with tempfile.TemporaryDirectory(prefix="modelpad-") as folder:
        files = conversion.files
        bundle = write_bundle(Path(folder) / "bundle", conversion.manifest, files)
        return store.push(bundle, version=version)
