"""Arrays read without their rows are those that NumPy makes of the lists."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modelpad.server.protocols.number_rows import MAX_DEPTH, find_shape, read_array

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), st.just(0)
)
SHAPES = arrays.array_shapes(min_dims=1, max_dims=5, max_side=4)
# Rows of any length, and what is no number.
LISTS = st.recursive(
    st.one_of(NUMBERS, st.sampled_from([None, True, "1", "[1]", {"b64": "AA=="}])),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=20,
).filter(lambda value: isinstance(value, list))


def read_slowly(value: Any) -> Any:
    """What NumPy makes of the lists; None unless numbers."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        return None
    return array if array.dtype.kind in "iuf" and array.size else None


def check(value: Any, text: str) -> None:
    fast, slow = read_array(text.encode()), read_slowly(value)
    if fast is not None:
        assert slow is not None
        assert (fast.dtype, fast.shape) == (slow.dtype, slow.shape)
        assert np.array_equal(fast, slow)


@given(st.data(), SHAPES, st.sampled_from([None, 1, " \t"]))
@settings(max_examples=200, deadline=None)
def test_full_arrays_are_read(data: Any, shape: tuple[int, ...], indent: Any) -> None:
    elements = st.floats(-1e300, 1e300) if data.draw(st.booleans()) else st.integers(-9, 2**62)
    flat = data.draw(st.lists(elements, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    value = np.array(flat).reshape(shape).tolist()
    text = json.dumps(value, indent=indent)
    assert read_array(text.encode()) is not None
    check(value, text)


@given(LISTS)
@settings(max_examples=500, deadline=None)
def test_nothing_else_is_taken_for_an_array(value: Any) -> None:
    check(value, json.dumps(value))


@pytest.mark.parametrize(
    "text",
    [
        "[[1,2],[3]]",
        "[[1,2],[3],[4,5,6]]",
        "[[1],2]",
        "[1,[2]]",
        "[[],[]]",
        "[[1],[]]",
        "[]",
        "[[1,2],[3,4],[]]",
        "[[1][2]]",
        "[1 2]",
        "[[1,2],[3,4]",
        "[1,e]",
        "[01]",
        '["1","2"]',
        "[true,1]",
        "[1e999]",
        "[" * (MAX_DEPTH + 1) + "1" + "]" * (MAX_DEPTH + 1),
        "[" * 100_000,
    ],
)
def test_these_are_left_to_the_usual_way(text: str) -> None:
    assert read_array(text.encode()) is None


def test_the_shape_is_that_of_the_brackets() -> None:
    assert find_shape(b"[[[,,],[,,]]]") == (1, 2, 3)
    assert find_shape(b"[]") == (1,)
    assert find_shape(b"") == ()
    assert find_shape(b"[[,],[]]") == ()
