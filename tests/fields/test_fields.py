"""Fields: what they decode, what they refuse, and the sketch's preparation."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageDraw

from modelpad.bundle import Bundle
from modelpad.errors import BundleInvalid, EmptyCanvas, InvalidInput, ModelFailed, TooLarge
from modelpad.fields import Image, Label, Score, Signature, Sketch, Tensor, Text, field_from_dict
from modelpad.fields.picture import read_picture
from modelpad.fields.preparation import prepare_sketch

FIELDS = [
    Image("photo", 8, 6, 3),
    Image("any", None, None, 1),
    Sketch(),
    Text("review", 100),
    Tensor("numbers", "int64", (None, 3)),
    Label("kind", ("a", "b"), 1),
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_field_survives_its_manifest(field: Any) -> None:
    assert field_from_dict(field.to_dict()) == field
    assert isinstance(field.schema(), dict)


def draw_seven(size: int, brush: int, ink: int = 0, paper: int = 255) -> Pillow.Image:
    picture = Pillow.new("L", (size, size), paper)
    points = [(0.2 * size, 0.2 * size), (0.6 * size, 0.2 * size), (0.35 * size, 0.8 * size)]
    ImageDraw.Draw(picture).line(points, fill=ink, width=brush, joint="curve")
    return picture


@pytest.mark.parametrize("size", [60, 280, 2000])
@pytest.mark.parametrize("brush", [1, 4, 12])
@pytest.mark.parametrize("colours", [(0, 255), (255, 0), (30, 200), (220, 90)])
def test_a_sketch_is_found_at_any_size_and_polarity(
    size: int, brush: int, colours: tuple[int, int], digits: Bundle
) -> None:
    prepared = prepare_sketch(draw_seven(size, brush, *colours))
    assert prepared.shape == (28, 28)
    rows, columns = np.nonzero(prepared > 40)
    assert 17 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
    assert prepared.max() == 255
    weights = prepared / prepared.sum()
    assert abs((weights.sum(axis=1) @ np.arange(28)) - 14) < 1.1
    assert abs((weights.sum(axis=0) @ np.arange(28)) - 14) < 1.1


@pytest.mark.parametrize("paper", [(0, 0, 0, 0), (255, 255, 255, 0)])
@pytest.mark.parametrize("ink", [(0, 0, 0, 255), (255, 255, 255, 255)])
def test_transparent_paper(paper: tuple[int, ...], ink: tuple[int, ...]) -> None:
    picture = Pillow.new("RGBA", (100, 100), paper)
    ImageDraw.Draw(picture).line([(50, 10), (50, 90)], fill=ink, width=8)
    assert prepare_sketch(picture).sum() > 3000


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_canvas_says_so(level: int) -> None:
    with pytest.raises(EmptyCanvas, match="empty"):
        prepare_sketch(Pillow.new("L", (280, 280), level))


def test_a_prepared_digit_passes_through_unchanged(digits: Bundle) -> None:
    for number in range(10):
        picture = Pillow.open(digits.path(f"samples/{number}.png"))
        assert (prepare_sketch(picture) == np.array(picture)).mean() > 0.95


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_picture_or_an_invalid_input(body: bytes) -> None:
    with pytest.raises((InvalidInput, TooLarge)):
        read_picture(body, field="image")


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_picture_or_an_invalid_input(text: str) -> None:
    with pytest.raises((InvalidInput, TooLarge)):
        read_picture(text, field="image")


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


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_an_image_is_resized_to_what_the_graph_takes(kind: str) -> None:
    file = io.BytesIO()
    Pillow.new("RGB", (40, 30), (255, 0, 0)).save(file, kind)
    for value in (file.getvalue(), {"b64": base64.b64encode(file.getvalue()).decode()}):
        pixels = Image("photo", 8, 6, 3).decode(value)
        assert pixels.shape == (8, 6, 3)
        assert pixels[:, :, 0].mean() > 240


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))
def test_a_picture_survives_encoding_and_decoding(height: int, width: int, channels: int) -> None:
    field = Image("photo", None, None, channels)
    rng = np.random.default_rng(height * 10 + width)
    pixels = rng.integers(0, 256, (height, width, channels)).astype(np.float32)
    np.testing.assert_array_equal(field.decode(field.encode(pixels)), pixels)


def test_a_label_ranks_its_scores() -> None:
    answer = Label("kind", ("a", "b", "c"), top=2).encode(np.array([0.1, 0.7, 0.2], np.float32))
    assert answer == {"label": "b", "confidence": 0.7, "scores": {"b": 0.7, "c": 0.2}}
    for wrong in (np.array([0.5, 0.5]), np.array([np.nan, 0.5, 0.5])):
        with pytest.raises(ModelFailed):
            Label("kind", ("a", "b", "c")).encode(wrong)


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        ("float32", [float("nan")] * 3, "NaN"),
        ("float32", [1e300] * 3, "fit"),
        ("uint8", [256, 0, 0], "fit"),
        ("int64", [0.5, 0, 0], "whole"),
        ("float32", [1, 2], "shape"),
        ("float32", ["1", "2", "3"], "numbers"),
    ],
)
def test_a_tensor_refuses_what_does_not_fit(dtype: str, value: list[Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Tensor("numbers", dtype, (3,)).decode(value)


def test_a_signature_has_no_name_twice() -> None:
    with pytest.raises(ValueError, match="duplicate"):
        Signature((Sketch(), Sketch()), (Label("label", ("a", "b")),))


@pytest.mark.parametrize("value", [2**130, 1e300, 10**400, float("inf"), True])
def test_a_score_beyond_float32_is_refused(value: float) -> None:
    assert Score("x").decode(2**70) == 2.0**70
    with pytest.raises(InvalidInput):
        Score("x").decode(value)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int64", [2.0**63]),
        ("uint64", [2.0**64]),
        ("uint64", [2**63, -1]),
        ("int64", [2**63]),
        ("float32", [1e300]),
    ],
)
def test_a_tensor_refuses_numbers_at_the_border_of_its_type(dtype: str, value: list[Any]) -> None:
    with pytest.raises(InvalidInput):
        Tensor("x", dtype, (None,)).decode(value)


def test_a_float_picture_with_nan_is_refused() -> None:
    file = io.BytesIO()
    Pillow.fromarray(np.array([[0.0, np.nan], [1.0, 0.5]], np.float32)).save(file, "TIFF")
    for field in (Sketch(), Image("photo", 2, 2, 1)):
        with pytest.raises(InvalidInput, match="NaN"):
            field.decode(file.getvalue())


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
        {"kind": "score", "name": ["a"]},
        {"kind": ["score"], "name": "a"},
    ],
    ids=str,
)
def test_a_field_of_a_senseless_size_or_type_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(BundleInvalid):
        field_from_dict(record)
