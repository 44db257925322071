"""Python values as the values of a model's input fields: paths, Pillow images, arrays, data frames.

What a field accepts is decided by the field itself; nothing here knows about HTTP.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from modelpad.errors import InvalidInput
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

PICTURES = ("sketch", "image")
FILES = (*PICTURES, "audio")
MAX_PATH_CHARS = 1024  # a longer string is a file in base64


@runtime_checkable
class Savable(Protocol):
    """A Pillow image."""

    def save(self, fp: io.BytesIO, format: str) -> None:
        """Writes the image."""


@runtime_checkable
class Listable(Protocol):
    """An array of NumPy or of another library."""

    def tolist(self) -> Json:
        """Nested lists."""


@dataclass(frozen=True, slots=True)
class InputKind:
    """What must be known of an input field: its kind, and whether it may be left out."""

    kind: str
    is_optional: bool = False


def read_inputs(
    model: str, fields: Mapping[str, InputKind], value: object, named: Mapping[str, object]
) -> dict[str, object]:
    """The values of a model's input fields, which `named` gives by name.

    `value` is that of the only input that is not in `named` and has no default. It may also be a
    dictionary of all inputs, or a row of a data frame.

    Raises `InvalidInput` if `value` could be that of several inputs, or if there is none at all.
    """
    row = read_row(value)
    if isinstance(row, Mapping):
        named = {**{str(name): each for name, each in row.items()}, **named}
    elif value is not None:
        named = {_find_only(model, fields, named): value, **named}
    if not named:
        raise InvalidInput("There is no input.", hint=f"Give {', '.join(fields)}.")
    kinds = {name: field.kind for name, field in fields.items()}
    return {name: read_value(each, kinds.get(name, "")) for name, each in named.items()}


def _find_only(model: str, fields: Mapping[str, InputKind], named: Mapping[str, object]) -> str:
    left = {name: field for name, field in fields.items() if name not in named}
    required = [name for name, field in left.items() if not field.is_optional]
    if len(required) == 1:
        return required[0]
    if not required and left:
        return next(iter(left))
    if not left:
        raise InvalidInput(
            f"{model} has no input beside {', '.join(fields)}.",
            hint="Give each input once.",
            expected=", ".join(fields),
        )
    raise InvalidInput(f"{model} has several inputs.", hint=f"Name them: {', '.join(left)}.")


def read_value(value: object, kind: str) -> object:
    """The bytes of a picture or sound, an array for a tensor, None for a missing number, the rest
    unchanged.

    A string is the path of a picture or sound, unless it is base64 or a `data:` URL; elsewhere it
    is text.

    Raises `InvalidInput` for a file that cannot be read, or that is not UTF-8 where text is.
    """
    if kind in FILES and isinstance(value, str) and _is_path(value):
        value = Path(value)
    if isinstance(value, Path):
        value = read_file(value)
    if kind in FILES and isinstance(value, bytes | bytearray):
        return bytes(value)
    if kind in PICTURES:
        return _read_picture(value)
    if isinstance(value, bytes | bytearray):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput("The text is not valid UTF-8.", hint="Save it as UTF-8.") from error
    if kind == "tensor" and hasattr(value, "dtype"):
        return value
    plain = value.tolist() if isinstance(value, Listable) else value
    return None if kind == "number" and _is_missing(plain) else plain


def read_file(path: Path) -> bytes:
    """A file's content. Raises `InvalidInput`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"The file {path} cannot be read: {error.strerror}.",
            hint="Check the path.",
            expected="the path of a file",
            got=str(path),
        ) from error


def split_items(values: Iterable[object]) -> Iterable[object]:
    """The items of a batch: the rows of a data frame as dictionaries, or what `values` yields."""
    frame: Any = values
    if hasattr(frame, "to_dicts"):  # Polars
        return cast("Iterable[object]", frame.to_dicts())
    if hasattr(frame, "columns") and hasattr(frame, "to_dict"):  # pandas
        filled = frame.astype(object).where(frame.notna(), None)
        return cast("Iterable[object]", filled.to_dict("records"))
    return values


def read_row(value: Any) -> object:
    """A row of a data frame, or a frame of one row, as a dictionary; other values unchanged.

    Raises `InvalidInput` for a data frame of several rows.
    """
    if not hasattr(value, "to_dict") or isinstance(value, Mapping):
        return value
    if not hasattr(value, "columns"):
        return value.to_dict()
    rows = [*split_items(value)]
    if len(rows) != 1:
        raise InvalidInput(
            f"A data frame of {len(rows):,} rows is not one item.",
            hint="Predict all rows with predict_batch, or with predict_many of a client.",
            expected="one row",
            got=f"{len(rows)} rows",
        )
    return rows[0]


def _read_picture(value: object) -> object:
    if isinstance(value, Savable):
        file = io.BytesIO()
        value.save(file, "PNG")
        return file.getvalue()
    if str(getattr(value, "dtype", "")) == "uint8":
        return _read_picture(_to_picture(cast("NDArray[np.uint8]", value)))
    return value.tolist() if isinstance(value, Listable) else value


def _is_path(text: str) -> bool:
    """Whether a string is a path rather than base64, which has no dot, or a `data:` URL."""
    if text.startswith("data:") or len(text) > MAX_PATH_CHARS or "\0" in text:
        return False
    return "." in text or "\\" in text or Path(text).is_file()


def _to_picture(pixels: NDArray[np.uint8]) -> Picture:
    from PIL import Image

    grey = pixels.ndim == 3 and pixels.shape[-1] == 1
    try:
        return Image.fromarray(pixels[..., 0] if grey else pixels)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"An array of shape {pixels.shape} is not a picture.",
            hint="Give (height, width), or (height, width, channels) with 1, 3 or 4 channels.",
            expected="(height, width, channels)",
            got=str(pixels.shape),
        ) from error


def _is_missing(value: object) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return type(value).__name__ in ("NAType", "NaTType")  # of pandas
