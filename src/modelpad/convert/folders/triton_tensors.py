"""The tensors of a Triton model's configuration: names, types, shapes and class names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelpad.convert.folders.found import Contract, FolderModel
from modelpad.convert.folders.listing import check_inside, read_text
from modelpad.convert.folders.pbtxt import (
    Message,
    integers_at,
    message_at,
    messages_at,
    text_at,
)
from modelpad.errors import ConversionFailed

CONFIG = "config.pbtxt"
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
