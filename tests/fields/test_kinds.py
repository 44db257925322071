"""Fields in manifests, and what any field decodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpad.errors import BundleInvalid, InvalidInput, TooLarge
from modelpad.fields import (
    Audio,
    Blend,
    Choice,
    Field,
    Image,
    Label,
    Number,
    Sketch,
    Tensor,
    Text,
    field_from_dict,
)

FIELDS: list[Field] = [
    Audio("word", 8_000, 8_000),
    Audio("speech"),
    Image("photo", 8, 6, 3),
    Image("any", None, None, 1),
    Sketch(),
    Text("review", 100),
    Tensor("numbers", "int64", (None, 3)),
    Label("kind", ("a", "b"), 1),
    Number("age", "years", 0, 120),
    Number("rooms", whole=True),
    Number("income", nullable=True),
    Choice("city", ("Bern", "Basel")),
    Choice("grade", (1, 2), allow_other=True),
    Blend("style", ("wave", "scream")),
    Number("strength", minimum=0, maximum=1, default=0.5),
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_field_survives_its_manifest(field: Any) -> None:
    assert field_from_dict(field.to_dict()) == field
    assert isinstance(field.schema(), dict)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON_VALUES)
def test_any_json_is_decoded_or_an_invalid_input(value: Any) -> None:
    for field in FIELDS:
        try:
            array = field.decode(value)
        except (InvalidInput, TooLarge):
            continue
        assert isinstance(array, np.ndarray)


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "sketch", "name": "a", "size": 10**9, "box": 20},
        {"kind": "sketch", "name": "a", "size": 28, "box": 29},
        {"kind": "image", "name": "a", "height": "8", "width": 8, "channels": 3},
        {"kind": "image", "name": "a", "height": 10**6, "width": 10**6, "channels": 3},
        {"kind": "tensor", "name": "a", "dtype": "int8", "shape": [-1]},
        {"kind": "tensor", "name": "a", "dtype": "int8", "shape": [1] * 40},
        {"kind": "text", "name": "a", "max_length": float("inf")},
        {"kind": "label", "name": "a", "classes": [1, 2]},
        {"kind": "label", "name": "a", "classes": ["a", "b"], "top": -1},
        {"kind": "number", "name": "a", "unit": "", "whole": 1, "nullable": False},
        {"kind": "number", "name": "a", "unit": "", "whole": True, "minimum": "0"},
        {"kind": "choice", "name": "a", "choices": "ab", "allow_other": False},
        {"kind": "score", "name": ["a"]},
        {"kind": ["score"], "name": "a"},
    ],
    ids=str,
)
def test_an_invalid_size_or_type_is_rejected(record: dict[str, Any]) -> None:
    with pytest.raises(BundleInvalid):
        field_from_dict(record)
