"""MLflow's model folder: `MLmodel` names the flavors, and each flavor its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from modelpad.convert.folders.found import Contract, FolderModel
from modelpad.convert.folders.listing import check_inside, list_folder, read_text
from modelpad.convert.folders.names import GENERIC, valid_name
from modelpad.convert.folders.yaml_subset import parse_yaml
from modelpad.errors import ConversionFailed, first_line
from modelpad.fields.tensor import DTYPES
from modelpad.foreign_json import Json, as_list, as_object, load_json, text_at

FILE = "MLmodel"
# The flavors that can be served, best first: the keys that may name the file or folder, and the
# names of the file in a folder that one of them names.
FLAVORS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "onnx": (("data",), ("model.onnx",)),
    "keras": (("data",), ("model.keras", "model.h5", "model")),
    "tensorflow": (("data", "saved_model_dir"), ("model.keras", "model.h5", "model")),
    "xgboost": (("data",), ()),
    "lightgbm": (("data",), ()),
    "catboost": (("data",), ()),
    "sklearn": (("pickled_model", "data"), ()),
    "pytorch": (("model_data", "data"), ("model.pt2", "model.pth")),
    "transformers": (("model_binary", "model"), ()),
}


def is_mlflow_model(folder: Path) -> bool:
    """Whether a folder has an `MLmodel`."""
    return (folder / FILE).is_file()


def read_mlflow_model(folder: Path, root: Path) -> list[FolderModel]:
    """The model of the best flavor in a folder, with its signature.

    Raises:
        ConversionFailed: `MLmodel` is invalid, or has no flavor that can be served.
        NotTrusted: the file leads out of the folder.
    """
    try:
        record = as_object(parse_yaml(read_text(folder / FILE, root)), FILE)
        flavors = as_object(record.get("flavors"), "flavors")
        signature = as_object(record.get("signature") or {}, "signature")
        tensors = list(read_tensors(signature.get("inputs")))
        path = find_file(folder, flavors)
    except (TypeError, ValueError, KeyError) as error:
        raise ConversionFailed(
            f"{folder.name}/{FILE} cannot be read: {first_line(error)}.",
            hint="Log the model again with MLflow.",
        ) from error
    check_inside(path, root)
    foreign = choose_name(folder, record)
    texts = tuple(text for _, text in tensors if text)
    needs_inputs = path.suffix in (".pth", ".pt") and len(texts) == len(tensors)
    columns = tuple(name for name, text in tensors if name and not text)
    model = FolderModel(
        foreign,
        valid_name(foreign),
        1,
        path,
        inputs=texts if needs_inputs else (),
        contract=Contract(columns=columns if len(columns) == len(tensors) else ()),
    )
    return [model]


def choose_name(folder: Path, record: Mapping[str, Json]) -> str:
    """The folder's name or, if that fits any model, the one that it was logged under."""
    artifact = record.get("artifact_path")
    names = [folder.resolve().name]
    if isinstance(artifact, str):
        names.append(PurePosixPath(artifact).name)
    return next((name for name in names if name and not GENERIC.fullmatch(name)), names[0])


def find_file(folder: Path, flavors: Mapping[str, Json]) -> Path:
    """The file or folder of the best flavor. Raises `ConversionFailed` if there is none."""
    for flavor, (keys, names) in FLAVORS.items():
        if flavor not in flavors:
            continue
        options = as_object(flavors[flavor] or {}, flavor)
        given = next((text_at(options, key) for key in keys if options.get(key)), "")
        path = folder / (given or "data")
        if not PurePosixPath(given).is_absolute() and path.exists():
            return choose_inside(check_inside(path, folder), names)
        raise ConversionFailed(
            f"{folder.name}/{FILE} names {given or 'data'!r}, which does not exist.",
            hint="Copy the whole folder.",
        )
    others = sorted(set(flavors) - {"python_function"})
    what = f"has the flavor {', '.join(others)}" if others else "is custom Python code (pyfunc)"
    raise ConversionFailed(
        f"The MLflow model {folder.name} {what}, which is not supported.",
        hint=f"Supported flavors: {', '.join(FLAVORS)}.",
    )


def choose_inside(path: Path, names: Sequence[str]) -> Path:
    """The model's file in a folder, by name; the folder itself if it is the model."""
    if not path.is_dir() or (path / "saved_model.pb").is_file():
        return path
    for name in names:
        if (path / name).exists():
            return check_inside(path / name, path)
    files = [entry for entry in list_folder(path) if entry.is_file()]
    return check_inside(files[0], path) if len(files) == 1 else path


def read_tensors(inputs: Json) -> Iterator[tuple[str, str]]:
    """The inputs of a signature: a column's name, or a tensor's name and its `--input`.

    Raises `TypeError`, `ValueError` and `KeyError` if they are damaged.
    """
    if not isinstance(inputs, str):
        return
    for each in as_list(load_json(inputs), "inputs"):
        record = as_object(each, "an input")
        name = str(record.get("name") or "")
        if record.get("type") == "tensor":
            yield name, describe_tensor(name, as_object(record["tensor-spec"], "tensor-spec"))
        else:
            yield name, ""


def describe_tensor(name: str, spec: Mapping[str, Json]) -> str:
    """A tensor as a text of `--input`; its first axis counts items."""
    dtype = text_at(spec, "dtype")
    sides = [side if isinstance(side, int) else -1 for side in as_list(spec["shape"], "shape")]
    if dtype not in DTYPES:
        return "text" if dtype in ("str", "object") else ""
    shape = ",".join("?" if side < 0 else str(side) for side in sides[1:])
    is_plain = name and not set(name) & set("=:,[]")
    return f"{name}=tensor:{dtype}[{shape}]" if is_plain else f"tensor:{dtype}[{shape}]"
