"""What the tensor protocols share: checking named tensors against a model.

TensorFlow Serving and the Open Inference Protocol use the graph's own tensors: its names, dtypes,
shapes and value ranges. Nothing is scaled, resized or renamed. Only where an image field stands
before an input, encoded images (PNG, JPEG) are accepted too, and prepared as in the native API.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelpad.engine import batch_first
from modelpad.errors import InvalidInput, ModelFailed, TooLarge
from modelpad.fields.tensor import MAX_ELEMENTS
from modelpad.server.http.json_stream import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelpad.engine import TensorInfo
    from modelpad.server.models import ServedModel

    Arrays = dict[str, NDArray[np.generic]]

PICTURES = ("sketch", "image")
MAX_SIDES = 32


def check_batch(model: ServedModel, arrays: Mapping[str, NDArray[np.generic]]) -> Arrays:
    """The tensors by name, cast to the graph's types, with one batch size.

    Arrays of bytes for image and sketch inputs are encoded images.

    Raises:
        InvalidInput: one is missing, unknown, or of another shape or type.
        TooLarge: there are too many numbers.
    """
    import numpy as np

    infos = model.inputs
    if len(infos) != len(arrays) or any(info.name not in arrays for info in infos):
        raise _wrong_names(model, arrays)
    ready: Arrays = {}
    sizes = set()
    for info in infos:
        array = np.asarray(arrays[info.name])
        if array.dtype.kind in "OSU" and info.dtype != "string":
            array = _decode_objects(model, info.name, array)
        ready[info.name] = array = _fit(array, info)
        if info.batch_axis is not None:
            sizes.add(array.shape[info.batch_axis])
    if len(sizes) > 1:
        raise InvalidInput(
            f"the inputs have different batch sizes: {sorted(sizes)}",
            hint="Send as many items for each input.",
            expected="one batch size",
            got=str(sorted(sizes)),
        )
    return ready


def _wrong_names(model: ServedModel, arrays: Mapping[str, object]) -> InvalidInput:
    names = [info.name for info in model.inputs]
    unknown = [name for name in arrays if name not in names]
    wrong = unknown[0] if unknown else next(name for name in names if name not in arrays)
    said = f"unexpected inference input {wrong!r}" if unknown else f"input {wrong!r} is missing"
    return InvalidInput(
        f"{said} for model {model.name!r}.",
        hint=f"Its inputs: {', '.join(names)}.",
        field=wrong,
        expected=", ".join(names),
        got=", ".join(arrays) or "no input",
    )


def count_elements(shape: Sequence[int], name: str) -> int:
    """How many elements a tensor of that shape has, before any memory is allocated for it.

    Raises:
        InvalidInput: a side is below 0, or there are too many sides.
        TooLarge: there are too many numbers.
    """
    if len(shape) > MAX_SIDES or any(side < 0 for side in shape):
        raise InvalidInput(
            f"the input {name!r} has an invalid shape: {str(shape)[:60]}",
            hint=f"Send at most {MAX_SIDES} sides, none below 0.",
            field=name,
            expected=f"at most {MAX_SIDES} sides of 0 or more",
            got=str(shape)[:60],
        )
    # A side of 0 must not hide that the others are too large for an array.
    size = math.prod(max(1, side) for side in shape)
    if size > MAX_ELEMENTS:
        raise _too_many(name, size)
    return math.prod(shape)


def _too_many(name: str, size: int) -> TooLarge:
    return TooLarge(
        f"the input {name!r} has {size:,} numbers; the limit is {MAX_ELEMENTS:,}",
        limit=MAX_ELEMENTS,
        got=size,
    )


def _decode_objects(
    model: ServedModel, name: str, array: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Encoded images, one per item, decoded by their field."""
    typed = model.typed.inputs
    field = typed.find_field(name)
    if field is None or field.kind not in PICTURES:
        raise InvalidInput(
            f"the input {name!r} takes numbers, not bytes",
            hint="Send numbers.",
            field=name,
            expected="numbers",
            got="bytes",
        )
    return typed.decode_items(name, array.reshape(-1).tolist())


def _fit(array: NDArray[np.generic], info: TensorInfo) -> NDArray[np.generic]:
    import numpy as np

    if array.size > MAX_ELEMENTS:
        raise _too_many(info.name, int(array.size))
    fits = array.ndim == len(info.shape) and all(
        want in (-1, have) for want, have in zip(info.shape, array.shape, strict=True)
    )
    axis = info.batch_axis
    if not fits or (axis is not None and not array.shape[axis]):
        counts = "none counts items" if axis is None else f"axis {axis} counts them"
        raise InvalidInput(
            f"unexpected shape for input {info.name!r}: expected {list(info.shape)},"
            f" got {list(array.shape)}.",
            hint=f"Send items of shape {list(info.item_shape)}; {counts}.",
            field=info.name,
            expected=str(list(info.shape)),
            got=str(list(array.shape)),
        )
    if info.dtype == "string":
        return _read_text(array, info.name)
    wanted = np.dtype(info.dtype)
    if array.dtype == wanted:
        return array
    if array.dtype.kind in "biuf" and np.can_cast(array.dtype, wanted, "same_kind"):
        return _cast(array, wanted, info.name)
    if array.dtype.kind in "iu" and wanted.kind in "iu":
        bounds = np.iinfo(wanted)
        if array.size and array.min() >= bounds.min and array.max() <= bounds.max:
            return array.astype(wanted)
    if array.dtype.kind in "biu" and wanted.kind == "f":
        return _cast(array, wanted, info.name)
    raise InvalidInput(
        f"the input {info.name!r} is {wanted}, not {array.dtype}",
        hint=f"Send {wanted}.",
        field=info.name,
        expected=str(wanted),
        got=str(array.dtype),
    )


def _cast(array: NDArray[np.generic], wanted: np.dtype[Any], name: str) -> NDArray[np.generic]:
    import numpy as np

    with np.errstate(over="ignore"):
        ready = array.astype(wanted)
    if wanted.kind == "f" and (np.isinf(ready) & np.isfinite(array)).any():
        raise InvalidInput(
            f"the input {name!r} has numbers beyond {wanted}",
            hint=f"The largest are {np.finfo(wanted).max:.3g}.",
            field=name,
            expected=str(wanted),
            got="a larger number",
        )
    return ready


def _read_text(array: NDArray[np.generic], name: str) -> NDArray[np.generic]:
    """Bytes as UTF-8 text."""
    import numpy as np

    try:
        texts = [
            one.decode("utf-8") if isinstance(one, bytes) else str(one)
            for one in array.reshape(-1).tolist()
        ]
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"the input {name!r} is not UTF-8: {error}",
            hint="Send text in UTF-8.",
            field=name,
            expected="UTF-8",
            got="other bytes",
        ) from error
    return np.array(texts, dtype=object).reshape(array.shape)


def read_numbers(value: object, name: str) -> NDArray[np.generic]:
    """Nested lists of JSON as an array; text becomes an array of objects.

    Raises `InvalidInput` for ragged lists, and for anything but numbers and text.
    """
    import numpy as np

    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidInput(
            f"the input {name!r} has rows of different lengths",
            hint="Every row needs as many numbers.",
            field=name,
            expected="rows of one length",
            got="ragged lists",
        ) from error
    if array.dtype.kind in "biuf":
        return array
    flat = np.asarray(value, dtype=object)
    if array.dtype.kind in "SU" or all(isinstance(one, str | bytes) for one in flat.reshape(-1)):
        return flat
    raise InvalidInput(
        f"the input {name!r} holds what is neither a number nor text",
        hint="Send numbers, or text.",
        field=name,
        expected="numbers or text",
        got=type(flat.reshape(-1)[0]).__name__ if flat.size else "nothing",
    )


def as_json(array: NDArray[np.generic]) -> Any:
    """An output as nested lists; raises `ModelFailed` for what JSON cannot carry."""
    import numpy as np

    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ModelFailed(
            "The model returned NaN or infinity, which JSON does not have.",
            hint="Ask for binary outputs, or check the model on this input.",
        )
    return plain(array)


def rows_first(model: ServedModel, outputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
    """The outputs with their items on the first axis; one without a batch axis is one item."""
    axes = model.typed.outputs.axes
    return {name: batch_first(array, axes[name]) for name, array in outputs.items()}


def split_items(
    outputs: Mapping[str, NDArray[np.generic]], names: Sequence[str]
) -> list[dict[str, object]]:
    """A batch of outputs (batch, ...) as one dictionary per item."""
    columns = {name: as_json(outputs[name]) for name in names}
    count = len(next(iter(columns.values())))
    return [{name: columns[name][row] for name in names} for row in range(count)]
