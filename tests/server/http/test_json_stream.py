"""Large responses are encoded as small ones are, in pieces, and other tasks run in between."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modelpad.engine import LARGE_ARRAY
from modelpad.errors import ModelFailed
from modelpad.server.http import json_stream as streams
from modelpad.server.http.json_stream import (
    check_finite,
    holds_array,
    is_large,
    plain,
    respond_parts,
    stream,
    write_value,
)
from modelpad.server.http.messages import encode_json
from modelpad.server.lifecycle.shadowing import outputs_agree

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
DTYPES = st.sampled_from(["float32", "float64", "int64", "uint8", "bool"])


@given(st.data(), DTYPES)
def test_arrays_are_encoded_like_their_lists(data: Any, dtype: str) -> None:
    elements = {"allow_nan": False, "allow_infinity": False} if "float" in dtype else {}
    array = data.draw(arrays.arrays(dtype, SHAPES, elements=elements or None))
    piece = data.draw(st.integers(1, 9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "PIECE", piece)
        value = {"a": array, "b": [{"c": array, "d": "e"}], "f": iter([array, array]), "g": [1, 2]}
        written = b"".join(write_value(value))
    listed = array.tolist()
    expected = {"a": listed, "b": [{"c": listed, "d": "e"}], "f": [listed, listed], "g": [1, 2]}
    assert written == encode_json(expected)


def test_text_arrays_are_encoded_like_their_lists() -> None:
    texts = np.array([["a", b"\xc3\xa9"], ["\xff", b"\xff"]], dtype=object)
    assert plain(texts) == [["a", "é"], ["\xff", "�"]]
    assert b"".join(write_value(texts)) == encode_json(plain(texts))


async def collect(value: Any) -> list[bytes]:
    return [part async for part in stream(value)]


def test_small_pieces_are_joined_to_larger_parts() -> None:
    rows = ({"row": number} for number in range(50_000))
    parts = asyncio.run(collect({"rows": rows}))
    assert json.loads(b"".join(parts))["rows"][-1] == {"row": 49_999}
    assert all(len(part) >= streams.PART_BYTES for part in parts[:-1])
    assert all(len(part) < 8 * streams.PART_BYTES for part in parts)


def test_concurrent_streams_take_turns() -> None:
    """The event loop is blocked for one piece at a time, however many streams there are."""
    array = np.random.default_rng(0).random(400_000)

    async def tick() -> list[float]:
        gaps, last = [], time.thread_time()
        while not over.is_set():
            await asyncio.sleep(0)
            gaps.append(time.thread_time() - last)
            last = time.thread_time()
        return gaps

    async def run() -> list[float]:
        ticking = asyncio.create_task(tick())
        await asyncio.gather(*(collect(array) for _ in range(8)))
        over.set()
        return await ticking

    over = asyncio.Event()
    gc.disable()
    gaps = asyncio.run(run())
    gc.enable()
    pieces = 8 * 400_000 / streams.PIECE
    assert len(gaps) > pieces / 2
    assert sorted(gaps)[int(0.95 * len(gaps))] < 4 * sum(gaps) / pieces


def test_nan_is_rejected_before_anything_is_sent() -> None:
    array = np.zeros(3_000_000, np.float32)
    asyncio.run(check_finite(array))
    array[-1] = np.nan
    with pytest.raises(ModelFailed, match="NaN"):
        asyncio.run(check_finite(array))
    asyncio.run(check_finite(np.array(["a"], dtype=object)))


def test_large_arrays_are_recognised() -> None:
    small, large = np.zeros(8), np.zeros(LARGE_ARRAY + 1)
    assert not is_large([small, small])
    assert is_large([small, large])
    assert holds_array({"outputs": {"y": large}})
    assert not holds_array({"outputs": {"y": [1.0]}, "label": "7"})


def test_a_short_response_in_parts_is_sent_whole() -> None:
    async def parts(count: int) -> Any:
        for _ in range(count):
            yield b"x" * 100_000

    async def read(count: int) -> tuple[int, bool]:
        response = await respond_parts(parts(count))
        size = len(response.body)
        if response.parts is not None:
            size = sum([len(part) async for part in response.parts])
        return size, response.parts is None

    assert asyncio.run(read(3)) == (300_000, True)
    assert asyncio.run(read(30)) == (3_000_000, False)


def test_arrays_are_compared_like_lists() -> None:
    first = np.random.default_rng(0).random(100_000).astype(np.float32)
    near, far = first + 1e-5, first.copy()
    far[-1] += 0.1
    assert outputs_agree({"y": first}, {"y": near})
    assert not outputs_agree({"y": first}, {"y": far})
    assert not outputs_agree({"y": first}, {"y": first.tolist()})
    both = np.array([np.nan, np.inf, -np.inf], np.float32)
    assert outputs_agree(both, both.copy())
    assert not outputs_agree(both, both[::-1].copy())
