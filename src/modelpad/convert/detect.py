"""Finds the converter for a file, by its content rather than its name."""

from __future__ import annotations

import zipfile
from importlib import import_module
from pathlib import Path

from modelpad.convert.archives import truncated
from modelpad.convert.source import ImportRequest, SourceModel
from modelpad.convert.unsupported import explain_file, explain_folder
from modelpad.errors import ConversionFailed, UsageError
from modelpad.foreign_json import load_json

HEAD_BYTES = 4096
MAX_JSON_BYTES = 64 << 20  # of a Keras architecture
LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # what torch.save wrote before 1.6
TAR_MAGIC = slice(257, 262)
SUPPORTED = (
    "Supported: Keras (.keras, .h5, .json with weights), PyTorch (.pt2, a state dict with --module,"
    " TorchScript .pt with --trust), TensorFlow (SavedModel, .tflite), scikit-learn (.skops),"
    " XGBoost (.json, .ubj), LightGBM (.txt), CatBoost (.cbm, .json) and .onnx."
)
# The module and function that open each format. Only that module is imported.
OPENERS = {
    "catboost": ("catboost", "open_catboost"),
    "huggingface": ("huggingface", "open_folder"),
    "keras": ("keras", "open_keras"),
    "keras-json": ("keras", "open_keras"),
    "lightgbm": ("lightgbm", "open_lightgbm"),
    "onnx": ("onnx", "open_onnx"),
    "pickle": ("pickles", "open_pickle"),
    "pt2": ("torch_program", "open_exported"),
    "safetensors": ("torch_weights", "open_weights"),
    "saved-model": ("tensorflow", "open_tensorflow"),
    "skops": ("sklearn", "open_skops"),
    "state-dict": ("torch_weights", "open_weights"),
    "tflite": ("tensorflow", "open_tensorflow"),
    "torchscript": ("pytorch", "open_script"),
    "xgboost": ("xgboost", "open_xgboost"),
}

HUGGING_FACE = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
)


def open_source(path: Path, request: ImportRequest) -> SourceModel:
    """Opens the model in `path` with its framework's converter.

    Raises:
        ConversionFailed: the file does not exist or its format is not supported.
        NotTrusted: it would run code, and `request.trust` is not set.
        MissingExtra: its framework is not installed.
        UsageError: separate weights are given for a format that contains its own.
    """
    if not path.exists():
        raise ConversionFailed(f"There is no file {path}.", hint="Check the path.")
    format_name = detect_format(path)
    if request.weights is not None and format_name != "keras-json":
        raise UsageError(
            f"{path.name} needs no second file.",
            hint="Only a Keras architecture (.json) has its weights in a separate file.",
        )
    if format_name not in OPENERS:
        raise ConversionFailed(f"{path.name} has an unknown format.", hint=SUPPORTED)
    module, function = OPENERS[format_name]
    opener = getattr(import_module(f"modelpad.convert.{module}"), function)
    opened: SourceModel = opener(path, request)
    return opened


def detect_format(path: Path) -> str:
    """The format of a file or folder, a key of `OPENERS`; "" if unknown.

    Raises `ConversionFailed` if it cannot be read, is empty, or is known to be something else than
    a model: a Git LFS pointer, a web page, another tool's format.
    """
    if path.is_dir():
        return _detect_folder(path)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise ConversionFailed(
            f"{path} cannot be read: {error.strerror}.", hint="Check its permissions."
        ) from error
    if not head:
        raise ConversionFailed(f"{path.name} is empty.", hint="Save or download it again.")
    unsupported = explain_file(path, head)
    if unsupported is not None:
        raise unsupported
    if head.startswith(b"PK\x03\x04"):
        return _detect_zip(path)
    if head.lstrip().startswith((b"{", b"[")):
        return _detect_json(path, head)
    return _detect_head(path, head)


def _detect_head(path: Path, head: bytes) -> str:
    """The format of a file that is neither a zip file nor JSON."""
    if head.startswith(b"\x89HDF"):
        return "keras"
    if head.startswith(b"CBM1"):
        return "catboost"
    if head[4:8] == b"TFL3":
        return "tflite"
    if head.startswith(b"tree\n") or b"\nversion=v" in head[:200]:
        return "lightgbm"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    if head.startswith(LEGACY_TORCH) or (head[TAR_MAGIC] == b"ustar" and b"sys_info" in head):
        return "state-dict"
    if path.suffix == ".ubj":
        return "xgboost"
    if head.startswith(b"\x80") or path.suffix in (".pkl", ".pickle", ".joblib"):
        return "pickle"
    return "onnx" if path.suffix == ".onnx" or head[:1] == b"\x08" else ""


def _detect_folder(path: Path) -> str:
    if (path / "saved_model.pb").is_file():
        return "saved-model"
    if (path / "config.json").is_file() and any((path / name).is_file() for name in HUGGING_FACE):
        return "huggingface"
    unsupported = explain_folder(path)
    if unsupported is not None:
        raise unsupported
    return ""


def _detect_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise truncated(path) from error
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


def _detect_json(path: Path, head: bytes) -> str:
    if head[:1] == b"{" and head[1:2] in (b"L", b"l", b"i", b"U"):
        return "xgboost"  # Universal Binary JSON, with a length after the brace
    if b'"learner"' in head[:200]:
        return "xgboost"
    if path.stat().st_size > MAX_JSON_BYTES:
        return ""
    try:
        record = load_json(path.read_bytes())
    except ValueError as error:
        raise ConversionFailed(
            f"{path.name} is not JSON: {error}.", hint="Check that the file is complete."
        ) from error
    if isinstance(record, dict) and "learner" in record:
        return "xgboost"
    if isinstance(record, dict) and {"features_info", "scale_and_bias"} <= set(record):
        return "catboost"
    if isinstance(record, dict) and "class_name" in record:
        return "keras-json"
    return ""
