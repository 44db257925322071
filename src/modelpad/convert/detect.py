"""From a path to the converter that can open it, by what the file holds rather than its name."""

from __future__ import annotations

import zipfile
from importlib import import_module
from pathlib import Path

from modelpad.convert.source import ImportRequest, SourceModel
from modelpad.errors import ConversionFailed, NotTrusted, UsageError
from modelpad.foreign_json import load_json

HEAD_BYTES = 4096
FORMS = (
    "It reads Keras (.keras, .h5, .json with weights), PyTorch (.pt2, a state dict with --module,"
    " TorchScript .pt with --trust), TensorFlow (SavedModel, .tflite), scikit-learn (.skops),"
    " XGBoost (.json, .ubj), LightGBM (.txt) and .onnx."
)
# The module and function that open each format; only that module is imported.
OPENERS = {
    "keras": ("keras", "open_keras"),
    "keras-json": ("keras", "open_keras"),
    "lightgbm": ("lightgbm", "open_lightgbm"),
    "onnx": ("onnx", "open_onnx"),
    "pickle": ("pickles", "open_pickle"),
    "pt2": ("pytorch", "open_exported"),
    "safetensors": ("pytorch", "open_state"),
    "saved-model": ("tensorflow", "open_tensorflow"),
    "skops": ("sklearn", "open_skops"),
    "state-dict": ("pytorch", "open_state"),
    "tflite": ("tensorflow", "open_tensorflow"),
    "torchscript": ("pytorch", "open_script"),
    "xgboost": ("xgboost", "open_xgboost"),
}


def open_source(path: Path, request: ImportRequest) -> SourceModel:
    """The foreign model in `path`, opened by its framework's converter.

    Raises:
        ConversionFailed: there is no such file, or nobody knows what it is.
        NotTrusted: it would run code, and `request.trust` is not set.
        MissingExtra: its framework is not installed.
        UsageError: weights are given to a format that holds its own.
    """
    if not path.exists():
        raise ConversionFailed(f"There is no file {path}.", hint="Check the path.")
    kind = name_format(path)
    if request.weights is not None and kind != "keras-json":
        raise UsageError(
            f"{path.name} needs no second file.",
            hint="Only a Keras architecture (.json) takes its weights from another file.",
        )
    if kind not in OPENERS:
        raise ConversionFailed(f"{path.name} is of no kind that modelpad knows.", hint=FORMS)
    module, function = OPENERS[kind]
    opener = getattr(import_module(f"modelpad.convert.{module}"), function)
    opened: SourceModel = opener(path, request)
    return opened


def name_format(path: Path) -> str:
    """The format of a file or folder: `keras`, `pt2`, `onnx`, ...; "" when unknown.

    Raises `ConversionFailed` when it cannot be read, or is empty.
    """
    if path.is_dir():
        return "saved-model" if (path / "saved_model.pb").is_file() else ""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise ConversionFailed(
            f"{path} cannot be read: {error.strerror}.", hint="Check its rights."
        ) from error
    if not head:
        raise ConversionFailed(f"{path.name} is empty.", hint="Save the model again.")
    if head.startswith(b"PK\x03\x04"):
        return _name_zip(path)
    if head.startswith(b"\x89HDF"):
        return "keras"
    if head[4:8] == b"TFL3":
        return "tflite"
    if head.lstrip().startswith((b"{", b"[")):
        return _name_json(path)
    if head.startswith(b"tree\n") or b"\nversion=v" in head[:200]:
        return "lightgbm"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    if head[:1] == b"{" or path.suffix == ".ubj":
        return "xgboost"
    if head.startswith(b"\x80") or path.suffix in (".pkl", ".pickle", ".joblib"):
        return "pickle"
    return "onnx" if path.suffix == ".onnx" or head[:1] == b"\x08" else ""


def _name_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ConversionFailed(
            f"{path.name} cannot be read: {error}.", hint="Check that the file is whole."
        ) from error
    ends = {"/".join(name.split("/")[1:]) or name for name in names}
    if {"config.json", "metadata.json"} <= set(names):
        return "keras"
    if "schema.json" in names:
        return "skops"
    if any(name.startswith("code/") for name in ends) and "constants.pkl" in ends:
        return "torchscript"
    if "archive_format" in ends or "serialized_exported_program.json" in names:
        return "pt2"
    return "state-dict" if "data.pkl" in ends else ""


def _name_json(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(1) == b"{" and file.read(1) in (b"L", b"l", b"i", b"U"):
            return "xgboost"  # Universal Binary JSON: a length follows the brace
    try:
        record = load_json(path.read_bytes())
    except ValueError as error:
        raise ConversionFailed(
            f"{path.name} is not JSON: {error}.", hint="Check that the file is whole."
        ) from error
    if isinstance(record, dict) and "learner" in record:
        return "xgboost"
    if isinstance(record, dict) and "class_name" in record:
        return "keras-json"
    return ""


def refuse_pickle(path: Path) -> NotTrusted:
    """The error for a file that runs whatever it says when it is opened."""
    return NotTrusted(
        f"{path.name} is a pickle, which runs whatever code it holds when it is opened.",
        hint="If you made it or trust who did, import it with --trust.",
        found=["pickle"],
    )
