"""Looks through a folder for models, of whatever tool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from modelpad.convert.detect import HUGGING_FACE, detect_format
from modelpad.convert.folders.found import FolderModel, Found, LeftOut
from modelpad.convert.folders.listing import check_inside, list_folder, version_number
from modelpad.convert.folders.mlflow import is_mlflow_model, read_mlflow_model
from modelpad.convert.folders.names import GENERIC, stem_of, valid_name
from modelpad.convert.folders.tfserving import (
    CONFIG,
    is_base_path,
    read_base_path,
    read_models_config,
)
from modelpad.convert.folders.triton import is_triton_model, read_triton_model
from modelpad.convert.unsupported import explain_folder
from modelpad.errors import ConversionFailed, ModelpadError, UsageError

# Files that are models, if their content is one; JSON and text files may be anything.
SUFFIXES = (
    ".keras", ".h5", ".hdf5", ".pt", ".pt2", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx",
    ".tflite", ".skops", ".ubj", ".xgb", ".lgb", ".cbm", ".cb", ".pkl", ".pickle", ".joblib",
)  # fmt: skip
AMBIGUOUS = (".json", ".txt", ".bin", ".h5", ".hdf5")
FOREIGN = (
    ".mlmodel", ".gguf", ".pmml", ".rds", ".pb", ".plan", ".engine", ".msgpack", ".mar", ".index",
)  # fmt: skip
WEIGHTS = (".h5", ".hdf5")
MAX_VERSIONS = 10  # of a model; the newest are kept
LOOKED_FOR = (
    "Looked for: a model's file (*.keras, *.h5, *.onnx, *.pt2, *.pt, *.tflite, *.skops, *.json,"
    " *.ubj, *.txt, ...), a SavedModel (saved_model.pb), Triton's NAME/config.pbtxt, TensorFlow"
    " Serving's NAME/1/saved_model.pb, MLflow's MLmodel, and a bundle (manifest.json)."
)
Reader = Callable[[Path, Path], list[FolderModel]]


def find_models(path: Path) -> Found:
    """The models at `path`: a file, a model's folder, or a folder of models.

    Parts of a folder that cannot be served are left out, if any can.

    Raises:
        ConversionFailed: there is none, or the only one cannot be served.
        UsageError: two of them have the same name.
        NotTrusted, TooLarge: as `list_folder` and `check_inside`.
    """
    if path.name == "saved_model.pb":
        path = path.parent
    if not path.is_dir():
        detect_format(path)  # raises the reason if it is no model
        return Found((name_file(path),))
    reader = choose_reader(path)
    if reader is not None:
        return Found(tuple(keep_newest(reader(path, path))))
    models, left_out = search_folder(path)
    if not models:
        raise explain_nothing(path, left_out)
    check_names(models)
    return Found(tuple(keep_newest(models)), tuple(left_out))


def choose_reader(folder: Path) -> Reader | None:
    """What reads a folder that is one model; None if it is no model, or contains several."""
    if is_mlflow_model(folder):
        return read_mlflow_model
    if (folder / "saved_model.pb").is_file() or is_hugging_face(folder):
        return read_whole
    if is_triton_model(folder):
        return read_triton_model
    if is_base_path(folder):
        return lambda path, root: read_base_path(path, root)
    return None


def is_hugging_face(folder: Path) -> bool:
    """Whether a folder has a configuration and weights as `transformers` writes them."""
    return (folder / "config.json").is_file() and any(
        (folder / name).is_file() for name in HUGGING_FACE
    )


def search_folder(root: Path) -> tuple[list[FolderModel], list[LeftOut]]:
    """The models in a folder and in the folders in it."""
    models: list[FolderModel] = []
    left_out: list[LeftOut] = []
    if (root / CONFIG).is_file():
        return read_models_config(root)
    entries = list_folder(root)
    for entry in entries:
        try:
            if entry.is_dir():
                models += read_folder(check_inside(entry, root), root)
        except ModelpadError as error:
            left_out.append(LeftOut(entry.name, error))
    files, refused = read_files([entry for entry in entries if not entry.is_dir()], root)
    if len(files) == 1 and not models and GENERIC.fullmatch(files[0].foreign_name):
        files = [rename(files[0], stem_of(root.resolve()))]
    return [*models, *files], [*left_out, *refused]


def read_folder(folder: Path, root: Path) -> list[FolderModel]:
    """The model of a folder in the folder that was given; none if it has none.

    Raises `ConversionFailed` if it has several, and as the readers.
    """
    reader = choose_reader(folder)
    if reader is not None:
        return reader(folder, root)
    unsupported = explain_folder(folder)
    if unsupported is not None:
        raise unsupported
    files = [entry for entry in list_folder(folder) if not entry.is_dir()]
    models, left_out = read_files(files, root)
    if not models and left_out:
        raise left_out[0].reason
    if len(models) > 1:
        raise UsageError(
            f"{folder.name} contains {len(models)} models.", hint=f"Serve it by itself: {folder}"
        )
    return [rename(model, folder.name) for model in models]


def read_files(files: Sequence[Path], root: Path) -> tuple[list[FolderModel], list[LeftOut]]:
    """The models among files, Keras architectures together with their weights."""
    formats: dict[Path, str] = {}
    left_out: list[LeftOut] = []
    for file in files:
        suffix = file.suffix.lower()
        if suffix not in (*SUFFIXES, *AMBIGUOUS, *FOREIGN):
            continue
        try:
            format_name = detect_format(check_inside(file, root))
        except ModelpadError as error:
            if suffix not in (".json", ".txt"):
                left_out.append(LeftOut(file.name, error))
            continue
        if format_name:
            formats[file] = format_name
    weights = pair_weights(formats)
    models = [
        name_file(file, weights.get(file)) for file in formats if file not in weights.values()
    ]
    return models, left_out


def pair_weights(formats: dict[Path, str]) -> dict[Path, Path]:
    """The weights of each Keras architecture: of the same name or, for one pair, of any."""
    architectures = [file for file, name in formats.items() if name == "keras-json"]
    candidates = [file for file in formats if file.suffix.lower() in WEIGHTS]
    pairs = {}
    for file in architectures:
        same = [each for each in candidates if each.name.partition(".")[0] == file.stem]
        choice = same or (candidates if len(architectures) == 1 else [])
        if len(choice) == 1:
            pairs[file] = choice[0]
    return pairs


def name_file(path: Path, weights: Path | None = None) -> FolderModel:
    """The model that a file or a whole folder is, named after it; a numbered folder's version."""
    stem = stem_of(path.resolve())
    return FolderModel(stem, valid_name(stem), version_number(path.resolve()) or 1, path, weights)


def read_whole(folder: Path, root: Path) -> list[FolderModel]:
    """The model that a whole folder is."""
    return [name_file(folder)]


def rename(model: FolderModel, name: str) -> FolderModel:
    """A copy with another name."""
    return replace(model, foreign_name=name, name=valid_name(name))


def keep_newest(models: Sequence[FolderModel]) -> list[FolderModel]:
    """At most `MAX_VERSIONS` versions of each model, in ascending order."""
    kept: list[FolderModel] = []
    for name in dict.fromkeys(model.name for model in models):
        versions = sorted((m for m in models if m.name == name), key=lambda model: model.version)
        kept += versions[-MAX_VERSIONS:]
    return kept


def check_names(models: Sequence[FolderModel]) -> None:
    """Raises `UsageError` if two models would be served under one name."""
    seen: dict[tuple[str, int], FolderModel] = {}
    for model in models:
        other = seen.setdefault((model.name.lower(), model.version), model)
        if other is not model:
            raise UsageError(
                f"{other.path.name} and {model.path.name} would both be served as {model.name!r}.",
                hint=f"Name them: {other.name}={other.path} {model.name}-2={model.path}",
            )


def explain_nothing(path: Path, left_out: Sequence[LeftOut]) -> ModelpadError:
    """Why a folder has no model that can be served."""
    if len(left_out) == 1:
        return left_out[0].reason
    if left_out:
        reasons = "; ".join(f"{each.name}: {each.reason.message}" for each in left_out[:5])
        return ConversionFailed(
            f"None of the models in {path} can be served: {reasons}", hint=left_out[0].reason.hint
        )
    return explain_folder(path) or ConversionFailed(
        f"{path} contains no model that is supported.", hint=LOOKED_FOR
    )
