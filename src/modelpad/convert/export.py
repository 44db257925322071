"""Exports a bundle to files for other tools: ONNX with its signature, or Keras."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from modelpad.bundle import Bundle
from modelpad.errors import ConversionFailed, UsageError

FORMATS = ("onnx", "keras")
KERAS_FILES = ("architecture.json", "model.weights.h5")


def export_bundle(bundle: Bundle, form: str, folder: Path) -> list[Path]:
    """Writes the model into `folder`, which must be new or empty. Returns the files.

    `onnx` writes the graph, including preprocessing, and `signature.json`. `keras` writes
    `model.keras`, its architecture and its weights, as trained, without preprocessing.

    Raises:
        UsageError: the folder is not empty, or the format is unknown.
        ConversionFailed: the model did not come from Keras, or runs in its own framework.
        NotTrusted: the model has custom layers.
        MissingExtra: Keras is not installed.
    """
    if form not in FORMATS:
        raise UsageError(f"Unknown format {form!r}.", hint=f"Use one of {', '.join(FORMATS)}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty.", hint="Choose a folder that does not exist yet.")
    if form == "keras" and any(name not in bundle.manifest.files for name in KERAS_FILES):
        framework = (bundle.manifest.source or {}).get("framework", "another framework")
        kept = bundle.manifest.native
        if kept is not None:
            raise ConversionFailed(
                f"{bundle.manifest.name} keeps its own file instead: {kept.file}.",
                hint=f"Copy the bundle with: modelpad models pull {bundle.manifest.name} DIR",
            )
        why = "" if framework == "keras" else f": it came from {framework}"
        raise ConversionFailed(
            f"{bundle.manifest.name} has no Keras files{why}.", hint="Use --to onnx."
        )
    native = bundle.manifest.native
    if form == "onnx" and native is not None:
        raise ConversionFailed(
            f"{bundle.manifest.name} runs in {native.framework} itself and has no ONNX graph.",
            hint="Import its file again without --backend native, if ONNX can express the model.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    return _export_onnx(bundle, folder) if form == "onnx" else _export_keras(bundle, folder)


def _export_onnx(bundle: Bundle, folder: Path) -> list[Path]:
    written = []
    for name in bundle.manifest.files:
        if name.startswith("model.onnx"):
            written.append(Path(shutil.copyfile(bundle.path(name), folder / name)))
    signature = folder / "signature.json"
    record = json.dumps(bundle.manifest.signature.to_dict(), indent=2, ensure_ascii=False)
    signature.write_text(record + "\n", encoding="utf-8")
    return [*written, signature]


def _export_keras(bundle: Bundle, folder: Path) -> list[Path]:
    from modelpad.convert.keras import build_from_config, load_keras, load_weights

    load_keras()
    config = bundle.read_json("architecture.json")
    if not isinstance(config, dict):
        raise ConversionFailed(
            "architecture.json is not a JSON object.", hint="Import the model again."
        )
    model = build_from_config(config, "architecture.json")
    load_weights(model, bundle.path("model.weights.h5"))
    archive = folder / "model.keras"
    model.save(archive)
    copies = [Path(shutil.copyfile(bundle.path(name), folder / name)) for name in KERAS_FILES]
    return [archive, *copies]
