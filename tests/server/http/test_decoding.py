"""Estimates of what decoding costs, against what it really costs; decompression."""

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
    """Bytes of a decoded value, with the garbage collector's share of each container."""
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(measure(one) for pair in value.items() for one in pair)
    if isinstance(value, list):
        return size + sum(measure(one) for one in value)
    return size


@given(VALUES)
def test_the_estimate_is_an_upper_bound(value: Any) -> None:
    body = msgspec.json.encode(value)
    decoded = msgspec.json.decode(body)
    scalar = 200  # a single value: there is no comma to count
    assert measure(decoded) <= estimate_json(body) + len(body) + scalar


@pytest.mark.parametrize("item", ITEMS)
def test_the_estimate_is_an_upper_bound_for_many_small_values(item: bytes) -> None:
    body = b"[" + b",".join([item] * 10_000) + b"]"
    assert measure(msgspec.json.decode(body)) <= estimate_json(body) + len(body)


def test_a_large_body_may_expand_less_than_a_small_one() -> None:
    small = bytes(FREE_BYTES)
    assert b"".join(decompress(gzip.compress(small), "gzip")) == small
    with pytest.raises(TooLarge):
        list(decompress(gzip.compress(bytes(FREE_BYTES + 1)), "gzip"))


@pytest.mark.parametrize(
    "body",
    [b"", b"no gzip", gzip.compress(b"a" * 1000)[:-1], gzip.compress(b"a") + b"more"],
    ids=["empty", "no gzip", "cut short", "followed by more"],
)
def test_damaged_gzip_is_rejected(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        list(decompress(body, "gzip"))


def test_the_error_names_an_unsupported_encoding() -> None:
    with pytest.raises(InvalidInput, match="Unsupported Content-Encoding: br"):
        list(decompress(b"abc", "br"))
