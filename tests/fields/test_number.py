"""The number field: one cell of a table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from modelpad.errors import InvalidInput, ModelFailed
from modelpad.fields import Number, field_from_dict


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3.0), (2.5, 2.5), ("2.5", 2.5), (" -1e3 ", -1000.0), (b"7", 7.0), (".5", 0.5), ("+4.", 4)],
)
def test_numbers_and_numeric_text_are_decoded(value: object, expected: float) -> None:
    array = Number("age").decode(value)
    assert array.shape == ()
    assert array.dtype == np.float64
    assert array == expected


@pytest.mark.parametrize(
    "value",
    [
        *(True, None, "", "abc", "1_000", "0x10", "5,1", "nan", "inf", "1e999", 10**400),
        *(float("nan"), float("inf"), [1], {"a": 1}, b"\xff", "9" * 10_000),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_anything_else_is_rejected_by_name(value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        Number("age", unit="years").decode(value)
    assert caught.value.details["field"] == "age"
    assert "years" in str(caught.value.details["expected"])


def test_a_decimal_comma_is_explained() -> None:
    with pytest.raises(InvalidInput) as caught:
        Number("width").decode("5,1")
    assert "decimal point" in caught.value.hint


@pytest.mark.parametrize("value", [None, "", "  ", "NaN", "NA", "null", float("nan")], ids=repr)
def test_a_missing_value_is_nan_where_it_is_allowed(value: object) -> None:
    assert math.isnan(float(Number("age", nullable=True).decode(value)))


def test_bounds_are_inclusive() -> None:
    field = Number("age", minimum=0, maximum=120)
    assert field.decode(0) == 0
    assert field.decode("120") == 120
    for value in (-0.1, 121):
        with pytest.raises(InvalidInput) as caught:
            field.decode(value)
        assert "from 0 to 120" in str(caught.value.details["expected"])


def test_whole_numbers_are_exact() -> None:
    field = Number("id", whole=True)
    array = field.decode("9007199254740993")  # not a float64
    assert array.dtype == np.int64
    assert int(array) == 9007199254740993
    assert field.decode("3.0") == 3
    for value in (2.5, "2.5", 2**63, -(2**63) - 1, 1e300):
        with pytest.raises(InvalidInput):
            field.decode(value)


def test_whole_numbers_that_may_be_missing_are_floats() -> None:
    field = Number("rooms", whole=True, nullable=True)
    assert field.decode("3").dtype == np.float64
    assert math.isnan(float(field.decode("")))


def test_outputs_are_json_numbers() -> None:
    assert Number("price").encode(np.array(2.5)) == 2.5
    assert Number("price").encode(np.array([2.5])) == 2.5
    whole = Number("count", whole=True).encode(np.array(3.0))
    assert whole == 3
    assert isinstance(whole, int)
    assert Number("price", nullable=True).encode(np.array(np.nan)) is None
    for array in (np.array(np.nan), np.array(np.inf), np.array([1.0, 2.0]), np.array("a", object)):
        with pytest.raises(ModelFailed):
            Number("price").encode(array)


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        (Number("a"), {"type": "number"}),
        (
            Number("a", "cm", 0, 10.5),
            {"type": "number", "minimum": 0, "maximum": 10.5, "description": "in cm"},
        ),
        (Number("a", whole=True, nullable=True), {"type": ["integer", "null"]}),
    ],
    ids=str,
)
def test_the_schema_has_type_and_bounds(field: Number, schema: dict[str, Any]) -> None:
    assert field.schema() == schema


@pytest.mark.parametrize(
    "field", [Number("a"), Number("a", "cm", -1, 2.5, whole=True, nullable=True)], ids=str
)
def test_it_survives_its_manifest(field: Number) -> None:
    assert field_from_dict(field.to_dict()) == field


@pytest.mark.parametrize(
    "bounds", [{"minimum": 2, "maximum": 1}, {"minimum": float("nan")}, {"maximum": float("inf")}]
)
def test_impossible_bounds_are_rejected(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"minimum|maximum"):
        Number("a", **bounds)  # type: ignore[arg-type]
