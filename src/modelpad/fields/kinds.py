"""The kinds of fields by their names in a manifest, and how a field is read back from one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelpad.errors import BundleInvalid
from modelpad.fields.field import Field
from modelpad.fields.image import Image
from modelpad.fields.label import Label
from modelpad.fields.score import Score
from modelpad.fields.sketch import Sketch
from modelpad.fields.tensor import Tensor
from modelpad.fields.text import Text

KINDS: dict[str, Callable[..., Field]] = {
    "image": Image.from_dict,
    "label": Label.from_dict,
    "score": Score.from_dict,
    "sketch": Sketch.from_dict,
    "tensor": Tensor.from_dict,
    "text": Text.from_dict,
}


def field_from_dict(record: Mapping[str, Any]) -> Field:
    """The field that `to_dict` described.

    Raises:
        BundleInvalid: the kind is unknown or its parameters make no sense.
    """
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise BundleInvalid(
            f"The manifest has a field of kind {kind!r}.",
            hint=f"Known kinds: {', '.join(sorted(KINDS))}. A newer modelpad may read it.",
        )
    try:
        if not isinstance(record["name"], str):
            raise TypeError("its name is not text")
        return KINDS[kind](record)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BundleInvalid(
            f"The manifest's {kind} field makes no sense: {error}.",
            hint="Write the bundle again from its source model.",
        ) from error
