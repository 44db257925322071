"""What decoding is said to cost beforehand, and what it then costs."""

from __future__ import annotations

import gzip
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpad.errors import InvalidInput, TooLarge
from modelpad.server.http.decoding import FREE_BYTES, decompress, estimate_json

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
ITEMS = [b"[]", b"{}", b'""', b"0.5", b"[0.5]", b'{"a":1}', b'"\xf0\x9f\x98\x80ab"']


def measure(value: Any) -> int:
    """Bytes that a decoded value takes, with what the garbage collector keeps of containers."""
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(measure(one) for pair in value.items() for one in pair)
    if isinstance(value, list):
        return size + sum(measure(one) for one in value)
    return size


@given(VALUES)
def test_the_estimate_is_never_below_what_the_value_takes(value: Any) -> None:
    body = msgspec.json.encode(value)
    decoded = msgspec.json.decode(body)
    scalar = 200  # one value alone: there is no comma to count
    assert measure(decoded) <= estimate_json(body) + len(body) + scalar


@pytest.mark.parametrize("item", ITEMS)
def test_many_small_values_cost_no_more_than_estimated(item: bytes) -> None:
    body = b"[" + b",".join([item] * 10_000) + b"]"
    assert measure(msgspec.json.decode(body)) <= estimate_json(body) + len(body)


def test_a_small_body_may_expand_far_and_a_large_one_a_hundredfold() -> None:
    small = bytes(FREE_BYTES)
    assert b"".join(decompress(gzip.compress(small), "gzip")) == small
    with pytest.raises(TooLarge):
        list(decompress(gzip.compress(bytes(FREE_BYTES + 1)), "gzip"))


@pytest.mark.parametrize(
    "body", [b"", b"no gzip", gzip.compress(b"a" * 1000)[:-1], gzip.compress(b"a") + b"more"]
)
def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        list(decompress(body, "gzip"))


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(InvalidInput, match="Unsupported Content-Encoding: br"):
        list(decompress(b"abc", "br"))
