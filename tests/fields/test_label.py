"""The label field."""

from __future__ import annotations

import numpy as np
import pytest

from modelpad.engine.typed import TypedOutputs
from modelpad.errors import BundleInvalid, ModelFailed
from modelpad.fields import Binding, Familiarity, Heatmap, Image, Label, Signature, field_from_dict
from modelpad.foreign_json import Json


def test_a_label_ranks_its_scores() -> None:
    answer = Label("kind", ("a", "b", "c"), top=2).encode(np.array([0.1, 0.7, 0.2], np.float32))
    assert answer == {"label": "b", "confidence": 0.7, "scores": {"b": 0.7, "c": 0.2}}
    for wrong in (np.array([0.5, 0.5]), np.array([np.nan, 0.5, 0.5])):
        with pytest.raises(ModelFailed):
            Label("kind", ("a", "b", "c")).encode(wrong)


KNOWN = Label("kind", ("a", "b"), familiarity=Familiarity("familiarity", 0.5))


def test_a_label_says_whether_the_item_is_unknown() -> None:
    scores = np.array([0.9, 0.1], np.float32)
    assert KNOWN.encode(scores, {"familiarity": np.array([0.4])})["unknown"] is True
    assert KNOWN.encode(scores, {"familiarity": np.array(0.5)})["unknown"] is False
    assert "unknown" in KNOWN.schema()["required"]  # type: ignore[operator]
    assert "unknown" not in Label("kind", ("a", "b")).schema()["required"]  # type: ignore[operator]
    for wrong in (np.array([np.nan]), np.array([1.0, 2.0])):
        with pytest.raises(ModelFailed, match="familiarity"):
            KNOWN.encode(scores, {"familiarity": wrong})


def test_a_familiarity_is_kept_in_the_manifest() -> None:
    assert field_from_dict(KNOWN.to_dict()) == KNOWN
    assert "familiarity" not in Label("kind", ("a", "b")).to_dict()
    broken: list[Json] = [
        {"tensor": "t", "threshold": "0"},
        {"tensor": "t", "threshold": np.nan},
        3,
    ]
    for wrong in broken:
        with pytest.raises(BundleInvalid):
            field_from_dict(KNOWN.to_dict() | {"familiarity": wrong})


def test_its_tensor_must_be_an_output_that_no_field_shows() -> None:
    image = Image("image", 8, 8, 1)
    with pytest.raises(ValueError, match="familiarity"):
        Signature((image,), (KNOWN,))
    signature = Signature((image,), (KNOWN,), other_outputs=(Binding("familiarity"),))
    assert signature.companion_tensors == ("familiarity",)
    outputs = TypedOutputs((KNOWN,), signature.output_bindings, signature.other_outputs)
    tensors = {
        "kind": np.array([[0.9, 0.1], [0.2, 0.8]], np.float32),
        "familiarity": np.array([[0.7], [-3.0]], np.float32),
    }
    assert [outputs.encode(tensors, n)["kind"]["unknown"] for n in (0, 1)] == [False, True]  # type: ignore[index]


SEEN = Label("kind", ("a", "b"), heatmap=Heatmap("map", over="image"))


def test_a_label_says_where_it_is_seen() -> None:
    scores = np.array([0.9, 0.1], np.float32)
    answer = SEEN.encode(scores, {"map": np.array([[0.12345, 1.0]])})
    assert answer["heatmap"] == [[0.123, 1.0]]
    assert field_from_dict(SEEN.to_dict()) == SEEN
    assert "heatmap" in SEEN.schema()["required"]  # type: ignore[operator]
    for wrong in (np.array([1.0]), np.array([[np.nan]])):
        with pytest.raises(ModelFailed, match="heat map"):
            SEEN.encode(scores, {"map": wrong})


def test_a_heat_map_lies_over_an_input() -> None:
    other = (Binding("map"),)
    Signature((Image("image", 8, 8, 1),), (SEEN,), other_outputs=other)
    with pytest.raises(ValueError, match="'image'"):
        Signature((Image("photo", 8, 8, 1),), (SEEN,), other_outputs=other)


def test_several_labels_are_those_with_a_score_of_a_half() -> None:
    label = Label("tags", ("cat", "dog", "red"), top=1, multiple=True)
    answer = label.encode(np.array([0.5, 0.9, 0.49], np.float32))
    assert answer == {
        "label": "dog",
        "confidence": 0.9,
        "scores": {"dog": 0.9},
        "labels": ["dog", "cat"],
    }
    assert label.encode(np.zeros(3, np.float32))["labels"] == []
    assert Label.from_dict(label.to_dict()) == label
    assert "labels" in label.schema()["required"]  # type: ignore[operator]
    assert "multiple" not in Label("tags", ("a", "b")).to_dict()
