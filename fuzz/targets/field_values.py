"""JSON values for every kind of field; raw bytes for text, blends and picture formats."""

from __future__ import annotations

from contextlib import suppress

from modelpad.errors import ModelpadError
from modelpad.fields import Blend, Field, Image, Label, Score, Sketch, Tensor, Text
from modelpad.fields.picture_format import name_format, negotiate, read_quality
from modelpad.fields.tensor import DTYPES
from modelpad.server.http.messages import encode_json, parse_json

DECODERS = (
    "modelpad.fields.blend",
    "modelpad.fields.picture_format",
    "modelpad.fields.tensor",
    "modelpad.fields.text",
    "modelpad.fields.label",
    "modelpad.fields.score",
    "modelpad.fields.image",
    "modelpad.fields.sketch",
    "modelpad.fields.field",
)
FIELDS: list[Field] = [
    *(Tensor("value", dtype, shape) for dtype in DTYPES for shape in ((), (3,), (None, 2))),
    Text("value", 40),
    Label("value", ("a", "b")),
    Score("value"),
    Image("value", 2, 2, 1),
    Image("value", None, None, 3),
    Sketch("value", 2, 1),
    Blend("value", ("wave", "scream")),
]


def fuzz(data: bytes) -> None:
    """Decodes the value with every field, and re-encodes tensors."""
    with suppress(ModelpadError):
        Text("value", 40).decode(data)
    with suppress(ModelpadError):
        Blend("value", ("wave", "scream")).decode(data)
    text = data.decode("latin-1")
    negotiate(text)
    for read in (name_format, read_quality):
        with suppress(ModelpadError):
            read(text)
    value = parse_json(data)
    for field in FIELDS:
        with suppress(ModelpadError):
            array = field.decode(value)
            if field.kind in ("tensor", "text"):
                encode_json(field.encode(array))
