"""After the training: the test, the export, the proof of parity, the report and the bundle."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from modelpad.bundle import Bundle, Manifest, Sample, write_bundle
from modelpad.convert.graph import finish_graph, optimise
from modelpad.convert.input_plan import InputPlan
from modelpad.convert.keras import KerasSource
from modelpad.convert.output_plan import OutputPlan
from modelpad.convert.parity import Parity, check_parity
from modelpad.datasets import Split
from modelpad.fields import Image, Label, Signature, Sketch
from modelpad.fields.arrays import Arrays
from modelpad.recipes.digits.card import write_card
from modelpad.recipes.digits.data import Splits
from modelpad.recipes.digits.options import TrainOptions
from modelpad.recipes.digits.report import write_report
from modelpad.runtime import load_onnxruntime

TOLERANCE = 1e-4


def finish_training(
    options: TrainOptions,
    material: Splits,
    model: Any,
    history: list[dict[str, float]],
    facts: dict[str, Any],
    out: TextIO,
) -> tuple[Bundle, dict[str, float]]:
    """The bundle in the run's folder, and its metrics. Raises `ParityFailed`."""
    folder = options.run_folder
    items = shape_images(material, material.test)
    scores = np.asarray(model.predict(items, batch_size=500, verbose=0), dtype=np.float32)
    guesses = scores.argmax(axis=1)
    metrics = {"test_accuracy": float((guesses == material.test.labels).mean())}
    if material.pens is not None:
        drawn = model.predict(shape_images(material, material.pens), batch_size=500, verbose=0)
        right = np.asarray(drawn).argmax(axis=1) == material.pens.labels
        metrics["drawn_accuracy"] = float(right.mean())

    field, label = make_input(material), Label("label", material.data.classes)
    graph = export_graph(model, field, label)
    parity = prove_parity(graph, model, items, field.name, label.name)
    out.write(
        f"Parity on {parity.samples:,} images: largest difference"
        f" {parity.largest_difference:.1e}, labels agree on"
        f" {100 * (parity.label_agreement or 0):.2f} %.\n"
    )
    write_report(folder, model, material, history, scores)
    card = write_card(options, material, model, history, metrics, facts, guesses)
    model.save_weights(folder / "model.weights.h5")
    files: dict[str, bytes | Path] = {
        "model.onnx": graph,
        "architecture.json": model.to_json(indent=1).encode("utf-8"),
        "model.weights.h5": folder / "model.weights.h5",
        "card.json": json.dumps(card, ensure_ascii=False, separators=(",", ":")).encode("utf-8"),
        "report/mistakes.png": folder / "report" / "mistakes.png",
    }
    samples = make_samples(material, files)
    manifest = Manifest(
        name=options.name,
        task="image-classification",
        title=card["title"],
        summary=card["summary"],
        licence=material.data.licence,
        signature=Signature((field,), (label,)),
        source={"framework": "keras", "keras": version("keras"), "torch": version("torch")},
        training=card["training"] | {"python": platform.python_version()},
        metrics=metrics,
        parity=parity.to_dict(),
        samples=samples,
    )
    target = folder / "bundle"
    if target.exists():
        import shutil

        shutil.rmtree(target)
    return write_bundle(target, manifest, files), metrics


def make_input(material: Splits) -> Sketch | Image:
    """A drawing pad for digits; a picture of the training's size for anything else."""
    if material.sketch:
        return Sketch("image", size=material.item_shape[0])
    height, width, channels = material.item_shape
    return Image("image", height, width, channels)


def shape_images(material: Splits, split: Split) -> NDArray[np.float32]:
    """float32 (N, *item_shape), 0..255."""
    return split.images.reshape(len(split), *material.item_shape).astype(np.float32)


def export_graph(model: Any, field: Sketch | Image, classes: Label) -> bytes:
    """The model as ONNX: the fields' names, any number of items at once."""
    source = KerasSource(model)
    inputs = [InputPlan(field, source.inputs[0])]
    shape = (None, len(classes.classes))
    outputs = [OutputPlan(classes, source.outputs[0], shape=shape)]
    body: bytes = optimise(finish_graph(source.export(), inputs, outputs)).SerializeToString()
    return body


def prove_parity(
    graph: bytes, model: Any, items: NDArray[np.float32], field: str, label: str
) -> Parity:
    """That ONNX Runtime answers as Keras does: to all `items`, 500 at once, and to some alone.

    Raises:
        ParityFailed: they differ by more than the tolerance.
    """
    onnxruntime = load_onnxruntime()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def run_keras(batch: Arrays) -> Arrays:
        return {label: np.asarray(model.predict_on_batch(batch[field]))}

    def run_graph(batch: Arrays) -> Arrays:
        return {label: session.run([label], batch)[0]}

    samples = [{field: item} for item in items]
    check_parity(run_keras, run_graph, samples[:14], tolerance=TOLERANCE)
    sizes = (min(500, len(items)),)
    return check_parity(
        run_keras, run_graph, samples, labels=[label], tolerance=TOLERANCE, batches=sizes
    )


def make_samples(material: Splits, files: dict[str, bytes | Path]) -> tuple[Sample, ...]:
    """The first test image of each class, at most ten, added to `files`."""
    import io

    from PIL import Image as Pillow

    samples = []
    for label, name in list(enumerate(material.data.classes))[:10]:
        members = np.flatnonzero(material.test.labels == label)
        if not len(members):
            continue
        file = io.BytesIO()
        Pillow.fromarray(material.test.images[members[0]]).save(file, "PNG", optimize=True)
        path = f"samples/{label}.png"
        files[path] = file.getvalue()
        samples.append(Sample({"image": {"file": path}}, name))
    return tuple(samples)
