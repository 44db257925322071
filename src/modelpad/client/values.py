"""What a program has to what the API takes, and what it answers to what a program wants."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelpad.errors import InvalidInput

PICTURES = ("sketch", "image")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: `outputs` by name; a label is `{"label", "confidence", "scores"}`.

    Tensors are NumPy arrays, pictures Pillow images, texts and scores what they are.
    """

    model: str
    version: int
    outputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The label of a model that answers one. Raises `InvalidInput` for any other."""
        return str(self._only_label()["label"])

    @property
    def confidence(self) -> float:
        """How sure the model is of its label, from 0 to 1."""
        return float(self._only_label()["confidence"])

    @property
    def scores(self) -> dict[str, float]:
        """Each class's score, the highest first."""
        return dict(self._only_label()["scores"])

    @property
    def value(self) -> Any:
        """The one output of a model that has one. Raises `InvalidInput` for any other."""
        if len(self.outputs) != 1:
            raise InvalidInput(f"{self.model} has several outputs: {', '.join(self.outputs)}.")
        return next(iter(self.outputs.values()))

    def _only_label(self) -> Mapping[str, Any]:
        labels = [one for one in self.outputs.values() if isinstance(one, dict) and "label" in one]
        if len(labels) != 1:
            raise InvalidInput(f"{self.model} does not answer one label.", hint="Use .outputs.")
        found: Mapping[str, Any] = labels[0]
        return found


def encode_inputs(model: Mapping[str, Any], value: Any, named: Mapping[str, Any]) -> dict[str, Any]:
    """The request's JSON; `model` is an entry of `GET /models`.

    Raises `InvalidInput` when one value is given for several inputs, or none at all.
    """
    fields = {one["name"]: one for one in model["inputs"]}
    if value is not None:
        if len(fields) != 1:
            raise InvalidInput(
                f"{model['name']} has several inputs.", hint=f"Name them: {', '.join(fields)}."
            )
        named = {next(iter(fields)): value}
    if not named:
        raise InvalidInput("There is no input.", hint=f"Give {', '.join(fields)}.")
    kinds = {name: one["kind"] for name, one in fields.items()}
    return {name: encode_value(each, kinds.get(name, "")) for name, each in named.items()}


def encode_value(value: Any, kind: str) -> Any:
    """A picture as a `data:` URL, an array as lists, anything else as it is."""
    if isinstance(value, Path):
        body = value.read_bytes()
        return _as_url(body) if kind in PICTURES else body.decode("utf-8")
    if isinstance(value, bytes | bytearray):
        return _as_url(bytes(value)) if kind in PICTURES else bytes(value).decode("utf-8")
    if kind in PICTURES and hasattr(value, "save"):
        file = io.BytesIO()
        value.save(file, "PNG")
        return _as_url(file.getvalue())
    if hasattr(value, "tolist"):
        if kind in PICTURES and str(value.dtype) == "uint8":
            from PIL import Image

            grey = value.ndim == 3 and value.shape[-1] == 1
            return encode_value(Image.fromarray(value[..., 0] if grey else value), kind)
        return value.tolist()
    return value


def knows_outputs(model: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a response's outputs are those that `model`, as it was read, has."""
    return set(record.get("outputs", ())) <= {one["name"] for one in model["outputs"]}


def decode_answer(model: Mapping[str, Any], record: Mapping[str, Any]) -> Answer:
    """The typed answer in a response's JSON."""
    name = str(record.get("model", model["name"]))
    version = int(record.get("version", model["version"]))
    fields = model["outputs"]
    if "outputs" not in record:
        label = {key: record[key] for key in ("label", "confidence", "scores")}
        return Answer(name, version, {fields[0]["name"]: label})
    kinds = {one["name"]: one for one in fields}
    outputs = record["outputs"]
    known = {key: _decode(kinds[key], each) for key, each in outputs.items() if key in kinds}
    return Answer(name, version, {**outputs, **known})


def _decode(field: Mapping[str, Any], value: Any) -> Any:
    if field["kind"] == "tensor":
        import numpy as np

        return np.asarray(value, dtype=field["dtype"])
    if field["kind"] == "image" and isinstance(value, str):
        from PIL import Image

        return Image.open(io.BytesIO(base64.b64decode(value.partition(",")[2])))
    return value


def _as_url(body: bytes) -> str:
    kind = "jpeg" if body[:2] == b"\xff\xd8" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(body).decode('ascii')}"
