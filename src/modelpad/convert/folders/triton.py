"""Triton's model repository: `NAME/config.pbtxt` and `NAME/VERSION/model.onnx`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from modelpad.convert.folders.found import Contract, FolderModel
from modelpad.convert.folders.listing import check_inside, list_folder, read_text, version_number
from modelpad.convert.folders.names import valid_name
from modelpad.convert.folders.pbtxt import (
    Message,
    integers_at,
    message_at,
    messages_at,
    parse_pbtxt,
    text_at,
)
from modelpad.convert.folders.triton_tensors import (
    CONFIG,
    name_script,
    name_trees,
    read_labels,
    read_tensors,
)
from modelpad.errors import ConversionFailed

# What each backend loads, unless default_model_filename says otherwise.
FILES = {
    "onnxruntime": ("model.onnx",),
    "tensorflow": ("model.savedmodel",),
    "pytorch": ("model.pt",),
    "fil": ("xgboost.json", "xgboost.ubj", "model.txt"),
}
BACKENDS = {
    "onnxruntime_onnx": "onnxruntime",
    "onnxruntime": "onnxruntime",
    "tensorflow_savedmodel": "tensorflow",
    "tensorflow": "tensorflow",
    "pytorch_libtorch": "pytorch",
    "pytorch": "pytorch",
    "fil": "fil",
}
# Files of backends that cannot be served: the backend, and why.
REFUSED = {
    "model.py": ("python", "is Python code for Triton's python backend, which only Triton runs"),
    "model.plan": ("tensorrt", "is a TensorRT engine, which runs on one kind of GPU only"),
    "model.graphdef": ("tensorflow_graphdef", "is a frozen TensorFlow 1 graph"),
    "model.xml": ("openvino", "is an OpenVINO model"),
    "model.dali": ("dali", "is a DALI pipeline"),
    "xgboost.model": ("fil", "is in XGBoost's old binary format"),
    "checkpoint.tl": ("fil", "is a Treelite checkpoint"),
}
INSTEAD = "Import the model that it was made from, for example as ONNX."
# Settings that do not change a prediction, or that modelpad decides itself.
IGNORED = (
    "dynamic_batching",
    "instance_group",
    "model_warmup",
    "optimization",
    "response_cache",
)


def is_triton_model(folder: Path) -> bool:
    """Whether a folder is a model of a Triton repository, with or without its configuration."""
    if (folder / CONFIG).is_file():
        return True
    versions = [entry for entry in list_folder(folder) if version_number(entry) is not None]
    names = {name for names in FILES.values() for name in names} | set(REFUSED)
    return any((version / name).exists() for version in versions for name in names)


def read_triton_model(folder: Path, root: Path) -> list[FolderModel]:
    """The versions of a model that Triton would load; every version if there is no policy.

    Raises:
        ConversionFailed: the configuration is invalid, or the model's kind is not supported.
        NotTrusted: a file leads out of `root`.
        TooLarge: as `list_folder` and `read_text`.
    """
    config = read_config(folder, root)
    check_supported(config, folder)
    name = text_at(config, "name", folder.name)
    versions = {
        number: entry
        for entry in list_folder(folder)
        if (number := version_number(entry)) is not None
    }
    chosen = apply_policy(message_at(config, "version_policy"), sorted(versions))
    if not chosen:
        raise ConversionFailed(
            f"The model {name!r} has no version in {folder}.",
            hint=f"Put its files in a numbered folder: {folder.name}/1/model.onnx",
        )
    found = [
        read_version(config, name, number, check_inside(versions[number], root), root)
        for number in chosen
    ]
    return found


def read_config(folder: Path, root: Path) -> Message:
    """The configuration of a model; empty if there is none. Raises as `read_text`."""
    path = folder / CONFIG
    if not path.is_file():
        return {}
    try:
        return parse_pbtxt(read_text(path, root))
    except ValueError as error:
        raise ConversionFailed(
            f"{folder.name}/{CONFIG} is invalid: {error}.", hint="Triton cannot read it either."
        ) from error


def check_supported(config: Message, folder: Path) -> None:
    """Raises `ConversionFailed` for models that only Triton can run, with the reason."""
    backend = text_at(config, "backend") or text_at(config, "platform")
    decoupled = text_at(message_at(config, "model_transaction_policy"), "decoupled") == "true"
    reason, hint = "", INSTEAD
    if backend == "ensemble" or "ensemble_scheduling" in config:
        reason = "is an ensemble, which passes requests on to other models"
        hint = "Serve its models, and call one after the other."
    elif "sequence_batching" in config:
        reason = "is stateful (sequence_batching): Triton keeps its state between requests"
        hint = "Serve it without sequence_batching, with its state as an input and output."
    elif decoupled:
        reason = "answers one request with several responses (decoupled)"
    elif any("reshape" in each for key in ("input", "output") for each in messages_at(config, key)):
        reason = "reshapes its tensors (reshape in config.pbtxt), which is not supported"
        hint = "Export the model with the shapes that clients send."
    elif backend and backend not in BACKENDS:
        what = next((why for name, why in REFUSED.values() if name == backend), "")
        reason = what or f"needs Triton's backend {backend!r}"
    if reason:
        raise ConversionFailed(f"The model {folder.name!r} {reason}.", hint=hint)


def apply_policy(policy: Message, versions: Sequence[int]) -> list[int]:
    """The versions that a `version_policy` selects, all of them without one."""
    if "specific" in policy:
        wanted = integers_at(message_at(policy, "specific"), "versions")
        return [number for number in versions if number in wanted]
    if "latest" in policy:
        count = (integers_at(message_at(policy, "latest"), "num_versions") or [1])[-1]
        return list(versions[-count:]) if count > 0 else []
    return list(versions)


def read_version(config: Message, name: str, number: int, folder: Path, root: Path) -> FolderModel:
    """One version of a model. Raises as `read_triton_model`."""
    backend = BACKENDS.get(text_at(config, "backend") or text_at(config, "platform"), "")
    path = find_file(config, backend, folder, root)
    inputs = read_tensors(config, "input")
    outputs = read_tensors(config, "output")
    batch = (integers_at(config, "max_batch_size") or [0])[-1]
    unbatched = batch == 0 and bool(inputs)
    ignored = [key for key in IGNORED if key in config]
    model = FolderModel(
        foreign_name=name,
        name=valid_name(name),
        version=number,
        path=path,
        labels=dict(read_labels(outputs, folder.parent, root)),
        contract=Contract(unbatched=unbatched),
        notes=(f"ignored in {CONFIG}: {', '.join(ignored)}",) if ignored else (),
    )
    if path.suffix == ".pt":
        return name_script(model, inputs, outputs, unbatched=unbatched)
    if backend == "fil" or path.name in FILES["fil"]:
        return name_trees(model, config, inputs, outputs)
    return model


def find_file(config: Message, backend: str, folder: Path, root: Path) -> Path:
    """The file or folder of a version. Raises `ConversionFailed` if there is none."""
    given = text_at(config, "default_model_filename")
    if given and (len(PurePosixPath(given).parts) != 1 or given == ".."):
        raise ConversionFailed(
            f"default_model_filename is {given!r}.", hint="Give a file name without folders."
        )
    names = FILES.get(backend) or tuple(name for names in FILES.values() for name in names)
    for name in (given,) if given else names:
        path = folder / name
        if path.exists():
            check_inside(path, root)
            nested = path / "model.onnx"  # a graph next to its weights
            return check_inside(nested, root) if nested.is_file() else path
    for name, (_, reason) in REFUSED.items():
        if (folder / name).exists():
            raise ConversionFailed(
                f"{folder.parent.name}/{folder.name}/{name} {reason}.", hint=INSTEAD
            )
    raise ConversionFailed(
        f"{folder.parent.name}/{folder.name} contains none of: {given or ', '.join(names)}.",
        hint="Name the file as Triton does, or with default_model_filename.",
    )
