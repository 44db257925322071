"""The choice field: one category of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelpad.errors import BundleInvalid, InvalidInput
from modelpad.fields import Choice, field_from_dict

CITIES = Choice("city", ("Bern", "Basel", "Zürich"))
GRADES = Choice("grade", (1, 2, 3))


@pytest.mark.parametrize("value", ["Bern", b"Bern"])
def test_a_category_is_text(value: object) -> None:
    array = CITIES.decode(value)
    assert array.shape == ()
    assert array.dtype == object
    assert array.item() == "Bern"


@pytest.mark.parametrize("value", [2, "2", " 2 ", 2.0, "2.0", b"2"], ids=repr)
def test_a_category_is_a_whole_number(value: object) -> None:
    array = GRADES.decode(value)
    assert array.shape == ()
    assert array.dtype == np.int64
    assert array == 2


@pytest.mark.parametrize("value", ["Genf", "bern", "", None, 1, ["Bern"], b"\xff"], ids=repr)
def test_an_unknown_category_is_rejected_with_the_known_ones(value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        CITIES.decode(value)
    assert caught.value.details["field"] == "city"
    assert "Bern, Basel, Zürich" in caught.value.hint


@pytest.mark.parametrize("value", [4, "4", 1.5, "x", True, "", 2**70, float("nan")], ids=repr)
def test_an_unknown_number_is_rejected(value: object) -> None:
    with pytest.raises(InvalidInput):
        GRADES.decode(value)


def test_an_unseen_category_may_be_allowed() -> None:
    assert Choice("city", ("Bern",), allow_other=True).decode("Genf").item() == "Genf"
    assert Choice("grade", (1,), allow_other=True).decode("7") == 7


@pytest.mark.parametrize("value", ["", None, 3], ids=repr)
def test_a_missing_value_is_no_category(value: object) -> None:
    with pytest.raises(InvalidInput):
        Choice("city", ("Bern",), allow_other=True).decode(value)


def test_empty_text_may_be_a_category() -> None:
    assert Choice("cabin", ("", "A")).decode("").item() == ""


def test_outputs_are_json_values() -> None:
    assert CITIES.encode(np.array("Bern", object)) == "Bern"
    assert CITIES.encode(np.array([b"Bern"], object)) == "Bern"
    assert GRADES.encode(np.array(2)) == 2


def test_the_schema_lists_the_choices() -> None:
    assert CITIES.schema() == {"type": "string", "enum": ["Bern", "Basel", "Zürich"]}
    assert GRADES.schema() == {"type": "integer", "enum": [1, 2, 3]}
    other = Choice("city", ("Bern",), allow_other=True)
    assert other.schema() == {"type": "string", "examples": ["Bern"]}


@pytest.mark.parametrize("field", [CITIES, GRADES, Choice("a", ("x",), True)], ids=str)
def test_it_survives_its_manifest(field: Choice) -> None:
    assert field_from_dict(field.to_dict()) == field


@pytest.mark.parametrize("choices", [[], ["a", 1], ["a", "a"], [True], [1.5], [2**63]], ids=str)
def test_invalid_choices_are_rejected(choices: list[Any]) -> None:
    record: dict[str, Any] = {
        "kind": "choice",
        "name": "a",
        "choices": choices,
        "allow_other": False,
    }
    with pytest.raises(BundleInvalid):
        field_from_dict(record)
