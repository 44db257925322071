"""The kinds of fields, and how one is read from a manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelpad.errors import BundleInvalid
from modelpad.fields.audio import Audio
from modelpad.fields.blend import Blend
from modelpad.fields.choice import Choice
from modelpad.fields.field import Field
from modelpad.fields.image import Image
from modelpad.fields.label import Label
from modelpad.fields.number import Number
from modelpad.fields.score import Score
from modelpad.fields.sketch import Sketch
from modelpad.fields.tensor import Tensor
from modelpad.fields.text import Text
from modelpad.foreign_json import Json, text_at

KINDS: dict[str, Callable[[Mapping[str, Json]], Field]] = {
    Audio.kind: Audio.from_dict,
    Blend.kind: Blend.from_dict,
    Choice.kind: Choice.from_dict,
    Image.kind: Image.from_dict,
    Label.kind: Label.from_dict,
    Number.kind: Number.from_dict,
    Score.kind: Score.from_dict,
    Sketch.kind: Sketch.from_dict,
    Tensor.kind: Tensor.from_dict,
    Text.kind: Text.from_dict,
}


def field_from_dict(record: Mapping[str, Json]) -> Field:
    """The inverse of `Field.to_dict`.

    Raises:
        BundleInvalid: the kind is unknown or a parameter is invalid.
    """
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise BundleInvalid(
            f"The manifest has a field of unknown kind {kind!r}.",
            hint=f"Known kinds: {', '.join(sorted(KINDS))}. A newer modelpad may support it.",
        )
    try:
        text_at(record, "name")
        return KINDS[kind](record)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleInvalid(
            f"The manifest has an invalid {kind} field: {error}.",
            hint="Write the bundle again from its source model.",
        ) from error
