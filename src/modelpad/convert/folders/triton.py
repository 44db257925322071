"""Triton's model repository: `NAME/config.pbtxt` and `NAME/VERSION/model.onnx`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from modelpad.errors import ConversionFailed

CONFIG = "config.pbtxt"
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
DTYPES = {
    "TYPE_BOOL": "bool",
    "TYPE_UINT8": "uint8",
    "TYPE_UINT16": "uint16",
    "TYPE_UINT32": "uint32",
    "TYPE_UINT64": "uint64",
    "TYPE_INT8": "int8",
    "TYPE_INT16": "int16",
    "TYPE_INT32": "int32",
    "TYPE_INT64": "int64",
    "TYPE_FP16": "float16",
    "TYPE_FP32": "float32",
    "TYPE_FP64": "float64",
}
POSITION = re.compile(r".*__(\d{1,4})")


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a configuration; `dims` are without the batch axis, unless it is 0."""

    name: str
    dtype: str
    dims: tuple[int | None, ...]
    label_file: str = ""


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


def read_tensors(config: Message, key: str) -> list[Tensor]:
    """The inputs or outputs of a configuration. Raises `ConversionFailed` for strange ones."""
    return [
        Tensor(
            text_at(each, "name"),
            text_at(each, "data_type"),
            tuple(None if side < 0 else side for side in integers_at(each, "dims")),
            text_at(each, "label_filename"),
        )
        for each in messages_at(config, key)
    ]


def read_labels(
    outputs: Sequence[Tensor], folder: Path, root: Path
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Class names by output. Raises as `read_text`, and `NotTrusted` for files elsewhere."""
    for output in outputs:
        if output.label_file:
            path = check_inside(folder / output.label_file, folder)
            lines = [line.strip() for line in read_text(path, root).splitlines()]
            yield output.name, distinguish([line for line in lines if line])


def distinguish(names: Sequence[str]) -> tuple[str, ...]:
    """Names that differ: ImageNet has two kinds of crane, so the second is `crane (2)`."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(made)


def name_script(
    model: FolderModel, inputs: Sequence[Tensor], outputs: Sequence[Tensor], *, unbatched: bool
) -> FolderModel:
    """Adds names, types and shapes to a TorchScript module, which has none.

    Raises `ConversionFailed` if the configuration does not say enough.
    """
    if not inputs or not outputs:
        raise ConversionFailed(
            f"The model {model.foreign_name!r} is TorchScript, which does not declare its tensors,"
            f" and its {CONFIG} has no input or no output.",
            hint=f"Describe them in {CONFIG}: input [ {{ name: ... data_type: ... dims: ... }} ]",
        )
    ordered = order_by_position(model.foreign_name, inputs)
    if unbatched and any(not tensor.dims or tensor.dims[0] not in (1, None) for tensor in ordered):
        raise ConversionFailed(
            f"The model {model.foreign_name!r} is TorchScript without a batch axis"
            " (max_batch_size is 0), which is not supported.",
            hint="Export it with torch.export.save (.pt2) or to ONNX.",
        )
    texts = tuple(describe_tensor(tensor, tensor.dims[unbatched:]) for tensor in ordered)
    names = tuple(tensor.name for tensor in order_by_position(model.foreign_name, outputs))
    contract = replace(
        model.contract, inputs=tuple(tensor.name for tensor in ordered), outputs=names
    )
    return replace(model, inputs=texts, contract=contract)


def order_by_position(model: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors in the order of their names' ends: `INPUT__0`, `INPUT__1`.

    Raises `ConversionFailed` for several without such names: their order would be a guess.
    """
    places = [POSITION.fullmatch(tensor.name) for tensor in tensors]
    numbers = [int(place[1]) for place in places if place is not None]
    if sorted(numbers) == list(range(len(tensors))):
        return [
            tensor for _, tensor in sorted(zip(numbers, tensors, strict=True), key=lambda p: p[0])
        ]
    if len(tensors) == 1:
        return list(tensors)
    raise ConversionFailed(
        f"The order of the tensors of {model!r} is unknown:"
        f" {', '.join(tensor.name for tensor in tensors)[:200]}.",
        hint=f"Name them by position in {CONFIG}: INPUT__0, INPUT__1, OUTPUT__0, ...",
    )


def describe_tensor(tensor: Tensor, dims: Sequence[int | None]) -> str:
    """A tensor as a text of `--input`. Raises `ConversionFailed` for types that it cannot have."""
    if tensor.dtype not in DTYPES:
        raise ConversionFailed(
            f"The input {tensor.name!r} has the type {tensor.dtype or 'none'}.",
            hint=f"A TorchScript module can take: {', '.join(DTYPES)}.",
        )
    sides = ",".join("?" if side is None else str(side) for side in dims)
    return f"{tensor.name}=tensor:{DTYPES[tensor.dtype]}[{sides}]"


def name_trees(
    model: FolderModel, config: Message, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> FolderModel:
    """Adds the names of the FIL backend to a booster, whose file has none.

    Raises `ConversionFailed` if it is to answer with class numbers instead of probabilities.
    """
    settings = {
        text_at(each, "key"): text_at(message_at(each, "value"), "string_value")
        for each in messages_at(config, "parameters")
    }
    if settings.get("output_class") == "true" and settings.get("predict_proba") != "true":
        raise ConversionFailed(
            f"The model {model.foreign_name!r} is to answer with class numbers (output_class"
            " without predict_proba); modelpad serves a booster's own output.",
            hint='Set predict_proba to "true", and choose the class in the client.',
        )
    if len(inputs) > 1 or len(outputs) > 1:
        raise ConversionFailed(
            f"The model {model.foreign_name!r} is a booster with more than one input or output.",
            hint="A booster has one input__0 and one output__0.",
        )
    sizes = tuple(count_elements(tensor.dims) for tensor in outputs)
    contract = Contract(
        inputs=tuple(tensor.name for tensor in inputs) or ("input__0",),
        outputs=tuple(tensor.name for tensor in outputs) or ("output__0",),
        sizes=sizes,
    )
    return replace(model, contract=contract)


def count_elements(dims: Sequence[int | None]) -> int | None:
    """The elements of a tensor; None if a side is free."""
    count = 1
    for side in dims:
        if side is None:
            return None
        count *= side
    return count
