"""Converts Python values to requests, and responses to Python values."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast, runtime_checkable

from modelpad.errors import InvalidInput
from modelpad.foreign_json import Json, list_at, object_at, optional_integer_at, text_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

PICTURES = ("sketch", "image")
Model: TypeAlias = dict[str, Json]
"""A model's entry in `GET /models`: its name, version, fields and card."""


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
class Answer:
    """A prediction's outputs by name.

    A label is `{"label", "confidence", "scores"}`, with `unknown` if the model can tell, a tensor
    a NumPy array and an image a Pillow image. Texts are strings and scores are numbers.
    """

    model: str
    version: int
    outputs: Mapping[str, object] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The predicted label. Raises `InvalidInput` unless there is exactly one."""
        return text_at(self._only_label(), "label")

    @property
    def confidence(self) -> float:
        """The label's score, from 0 to 1. Raises like `label`."""
        return _as_number(self._only_label()["confidence"])

    @property
    def scores(self) -> dict[str, float]:
        """Each class's score, in descending order. Raises like `label`."""
        scores = object_at(self._only_label(), "scores")
        return {name: _as_number(score) for name, score in scores.items()}

    @property
    def unknown(self) -> bool:
        """Whether the input looks like none of the classes; False if the model cannot tell.

        Raises like `label`.
        """
        return self._only_label().get("unknown") is True

    @property
    def value(self) -> object:
        """The only output. Raises `InvalidInput` if there are several."""
        if len(self.outputs) != 1:
            raise InvalidInput(
                f"{self.model} has several outputs: {', '.join(self.outputs)}.",
                hint="Use .outputs.",
            )
        return next(iter(self.outputs.values()))

    def _only_label(self) -> dict[str, Json]:
        outputs = self.outputs.values()
        labels = [output for output in outputs if isinstance(output, dict) and "label" in output]
        if len(labels) != 1:
            raise InvalidInput(
                f"{self.model} does not have exactly one label output.", hint="Use .outputs."
            )
        return labels[0]


def encode_inputs(model: Model, value: object, named: Mapping[str, object]) -> dict[str, object]:
    """The JSON of a request; `value` may also be a dictionary of all inputs.

    Raises `InvalidInput` if a single value is given for several inputs, or no value at all.
    """
    fields = _fields(model, "inputs")
    if isinstance(value, Mapping) and not named:
        named = {str(name): each for name, each in value.items()}
    elif value is not None:
        if len(fields) != 1:
            raise InvalidInput(
                f"{model['name']} has several inputs.", hint=f"Name them: {', '.join(fields)}."
            )
        named = {next(iter(fields)): value}
    if not named:
        raise InvalidInput("There is no input.", hint=f"Give {', '.join(fields)}.")
    kinds = {name: text_at(field, "kind") for name, field in fields.items()}
    return {name: encode_value(each, kinds.get(name, "")) for name, each in named.items()}


def encode_value(value: object, kind: str) -> object:
    """An image as a `data:` URL, an array as nested lists, NaN as null, the rest unchanged."""
    if isinstance(value, Path):
        body = value.read_bytes()
        return _as_url(body) if kind in PICTURES else body.decode("utf-8")
    if isinstance(value, bytes | bytearray):
        return _as_url(bytes(value)) if kind in PICTURES else bytes(value).decode("utf-8")
    if kind in PICTURES and isinstance(value, Savable):
        file = io.BytesIO()
        value.save(file, "PNG")
        return _as_url(file.getvalue())
    if kind in PICTURES and str(getattr(value, "dtype", "")) == "uint8":
        return encode_value(_to_picture(cast("NDArray[np.uint8]", value)), kind)
    plain = value.tolist() if isinstance(value, Listable) else value
    missing = kind == "number" and isinstance(plain, float) and math.isnan(plain)
    return None if missing else plain


def _to_picture(pixels: NDArray[np.uint8]) -> Picture:
    from PIL import Image

    grey = pixels.ndim == 3 and pixels.shape[-1] == 1
    return Image.fromarray(pixels[..., 0] if grey else pixels)


def knows_outputs(model: Model, record: dict[str, Json]) -> bool:
    """Whether `model` has all outputs of a response. If not, its entry is outdated."""
    return "outputs" not in record or {*object_at(record, "outputs")} <= {
        *_fields(model, "outputs")
    }


def decode_answer(model: Model, record: dict[str, Json]) -> Answer:
    """The prediction in a response's JSON."""
    name = text_at(record, "model") if "model" in record else text_at(model, "name")
    version = optional_integer_at(record, "version") or optional_integer_at(model, "version") or 0
    fields = _fields(model, "outputs")
    if "outputs" not in record:
        label = {key: record[key] for key in ("label", "confidence", "scores")}
        label |= {key: record[key] for key in ("unknown",) if key in record}
        return Answer(name, version, {next(iter(fields)): label})
    outputs = object_at(record, "outputs")
    return Answer(
        name,
        version,
        {key: _decode(fields[key], v) if key in fields else v for key, v in outputs.items()},
    )


def _decode(field: dict[str, Json], value: Json) -> object:
    kind = field["kind"]
    if kind == "tensor":
        import numpy as np

        return np.asarray(value, dtype=text_at(field, "dtype"))
    if kind == "image" and isinstance(value, str):
        from PIL import Image

        return Image.open(io.BytesIO(base64.b64decode(value.partition(",")[2])))
    return value


def _fields(model: Model, side: str) -> dict[str, dict[str, Json]]:
    fields = [field for field in list_at(model, side) if isinstance(field, dict)]
    return {text_at(field, "name"): field for field in fields}


def _as_number(value: Json) -> float:
    if not isinstance(value, int | float):
        raise TypeError("a score is not a number")
    return value


def _as_url(body: bytes) -> str:
    kind = "jpeg" if body[:2] == b"\xff\xd8" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(body).decode('ascii')}"
