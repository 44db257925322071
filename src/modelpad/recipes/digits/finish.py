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
from modelpad.datasets import Split
from modelpad.errors import ParityFailed
from modelpad.fields import Image, Label, Signature, Sketch
from modelpad.recipes.digits.card import write_card
from modelpad.recipes.digits.data import Material
from modelpad.recipes.digits.options import TrainOptions
from modelpad.recipes.digits.report import write_report

TOLERANCE = 1e-4


def finish_training(
    options: TrainOptions,
    material: Material,
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

    graph = export_graph(model, material.item_shape, folder / "model.onnx")
    parity = check_parity(graph, items, scores)
    out.write(
        f"Parity on {parity['samples']:,} images: largest difference"
        f" {parity['largest_difference']:.1e}, labels agree on"
        f" {100 * parity['label_agreement']:.2f} %.\n"
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
    classes = material.data.classes
    manifest = Manifest(
        name=options.name,
        task="image-classification",
        title=card["title"],
        summary=card["summary"],
        licence=material.data.licence,
        signature=Signature((make_input(material),), (Label("label", classes),)),
        source={"framework": "keras", "keras": version("keras"), "torch": version("torch")},
        training=card["training"] | {"python": platform.python_version()},
        metrics=metrics,
        parity=parity,
        samples=samples,
    )
    target = folder / "bundle"
    if target.exists():
        import shutil

        shutil.rmtree(target)
    return write_bundle(target, manifest, files), metrics


def make_input(material: Material) -> Sketch | Image:
    """A drawing pad for digits; a picture of the training's size for anything else."""
    if material.sketch:
        return Sketch("image", size=material.item_shape[0])
    height, width, channels = material.item_shape
    return Image("image", height, width, channels)


def shape_images(material: Material, split: Split) -> NDArray[np.float32]:
    """float32 (N, *item_shape), 0..255."""
    return split.images.reshape(len(split), *material.item_shape).astype(np.float32)


def export_graph(model: Any, shape: tuple[int, ...], path: Path) -> bytes:
    """The model as ONNX with inputs `image` and `label`, any number of items at once."""
    import contextlib
    import io

    import keras
    import onnx

    spec = [keras.InputSpec(shape=(None, *shape), dtype="float32", name="image")]
    model(np.zeros((1, *shape), np.float32))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model.export(path, format="onnx", input_signature=spec, verbose=False)
    graph = onnx.load(path)
    rename_value(graph.graph, graph.graph.input[0].name, "image")
    rename_value(graph.graph, graph.graph.output[0].name, "label")
    for value in (graph.graph.input[0], graph.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for node in graph.graph.node:
        node.ClearField("metadata_props")
        node.doc_string = ""
    onnx.checker.check_model(graph)
    body: bytes = graph.SerializeToString()
    return body


def rename_value(graph: Any, old: str, new: str) -> None:
    """Renames one value everywhere in a graph."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.name == old:
            value.name = new


def check_parity(
    graph: bytes, items: NDArray[np.float32], scores: NDArray[np.float32]
) -> dict[str, Any]:
    """How far ONNX Runtime's answers are from Keras's `scores`, on all `items`.

    Raises:
        ParityFailed: they differ by more than the tolerance, or a label differs.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    parts = [items[start : start + 500] for start in range(0, len(items), 500)]
    answers = np.concatenate([session.run(["label"], {"image": part})[0] for part in parts])
    alone = session.run(["label"], {"image": items[:1]})[0]
    difference = max(float(np.abs(answers - scores).max()), float(np.abs(alone - scores[:1]).max()))
    agreement = float((answers.argmax(axis=1) == scores.argmax(axis=1)).mean())
    if difference > TOLERANCE or agreement < 1:
        raise ParityFailed(
            f"The bundle does not answer as the Keras model: largest difference {difference:.2e}"
            f" (at most {TOLERANCE:.0e}), labels agree on {100 * agreement:.2f} %.",
            hint="The weights are kept in the run's folder; please report this.",
        )
    return {
        "samples": len(items),
        "largest_difference": difference,
        "label_agreement": agreement,
        "tolerance": TOLERANCE,
    }


def make_samples(material: Material, files: dict[str, bytes | Path]) -> tuple[Sample, ...]:
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
