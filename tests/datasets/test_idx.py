"""The IDX format: what is written is read back, and no bytes at all make it fail otherwise."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from modelpad.datasets.idx import encode_idx, parse_idx, read_content
from modelpad.errors import DataSetInvalid

HERE = Path("digits-idx3-ubyte")
ARRAYS = arrays.arrays(np.uint8, arrays.array_shapes(max_dims=4, max_side=6))


@given(ARRAYS)
def test_what_is_written_is_read_back(array: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(parse_idx(encode_idx(array), HERE), array)


@given(ARRAYS, st.data())
def test_any_shorter_file_is_truncated(array: NDArray[np.uint8], data: st.DataObject) -> None:
    content = encode_idx(array)
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(DataSetInvalid, match="truncated"):
        parse_idx(content[:cut], HERE)


@given(st.binary(max_size=200))
def test_rubbish_is_read_or_refused_never_anything_else(content: bytes) -> None:
    with suppress(DataSetInvalid):
        assert parse_idx(content, HERE).nbytes < len(content)


def test_bytes_left_over_are_an_error() -> None:
    with pytest.raises(DataSetInvalid, match="left over"):
        parse_idx(encode_idx(np.zeros((2, 2), np.uint8)) + b"\0", HERE)


def test_a_gzip_bomb_meets_a_limit(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(20_000_000)))
    with pytest.raises(DataSetInvalid, match="more than"):
        read_content(path, limit_bytes=1_000_000)
