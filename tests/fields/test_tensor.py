"""The tensor field."""

from __future__ import annotations

from typing import Any

import pytest

from modelpad.errors import InvalidInput
from modelpad.fields import Tensor


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
def test_a_tensor_rejects_invalid_values(dtype: str, value: list[Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Tensor("numbers", dtype, (3,)).decode(value)


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
def test_a_tensor_rejects_numbers_just_out_of_range(dtype: str, value: list[Any]) -> None:
    with pytest.raises(InvalidInput):
        Tensor("x", dtype, (None,)).decode(value)
