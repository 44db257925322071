"""Large answers, written a piece at a time, so that no other request waits for more than one piece.

An array becomes JSON as it is sent: ten million numbers at once would hold the event loop, and
Python's lock, for seconds, and take five times the memory of the array.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from modelpad.engine import LARGE_ARRAY
from modelpad.errors import ModelFailed
from modelpad.server.http.messages import JSON, Response, encode_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE = 8192  # numbers that are written at once: about a millisecond
PART_BYTES = 64 * 1024  # of an answer's parts, where what it is made of is smaller
WHOLE_BYTES = 1024 * 1024  # an answer that is shorter is sent as a whole
CHECKED = 1024 * 1024  # numbers that are looked at, at once

# Who writes a piece, one at a time for all streams of an event loop: else many would add up.
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def is_large(arrays: Iterable[NDArray[Any]]) -> bool:
    """Whether an answer with these arrays is to be written in pieces."""
    return sum(array.size for array in arrays) > LARGE_ARRAY


def holds_array(answer: Mapping[str, Any]) -> bool:
    """Whether an encoded answer has arrays that were left to be written in pieces."""
    values = [*answer.values()]
    nested = (each for value in values if isinstance(value, dict) for each in value.values())
    return any(isinstance(each, np.ndarray) for each in (*values, *nested))


async def check_finite(array: NDArray[Any]) -> None:
    """Raises `ModelFailed` for what JSON cannot carry."""
    if array.dtype.kind != "f":
        return
    flat = array.reshape(-1)
    for start in range(0, len(flat), CHECKED):
        if not np.isfinite(flat[start : start + CHECKED]).all():
            raise ModelFailed(
                "The model answered NaN or infinity, which JSON does not have.",
                hint="Ask for binary outputs, or check the model on this input.",
            )
        await asyncio.sleep(0)


def respond_stream(value: object, outputs: Mapping[str, Any]) -> Response:
    """An answer of JSON in pieces; `value` may hold arrays, and iterators for lists.

    `outputs` are what a shadow's answer is compared with.
    """
    return Response(content_type=JSON, parts=stream(value), outputs=outputs)


async def respond_parts(parts: AsyncIterator[bytes]) -> Response:
    """An answer of JSON: a whole one where it is short, else in parts as they come."""
    begun: list[bytes] = []
    size = 0
    async for part in parts:
        begun.append(part)
        size += len(part)
        if size > WHOLE_BYTES:
            break
    else:
        return Response(b"".join(begun), JSON)

    async def go_on() -> AsyncIterator[bytes]:
        for part in begun:
            yield part
        begun.clear()
        async for part in parts:
            yield part

    return Response(content_type=JSON, parts=go_on())


async def stream(value: object) -> AsyncIterator[bytes]:
    """The JSON of a value that may hold arrays, and iterators for lists."""
    async for part in take_turns(write_value(value)):
        yield part


async def take_turns(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces, joined to parts worth sending; the event loop is left to others between them."""
    turn = _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    buffer = bytearray()
    over = False
    while not over:
        async with turn:
            for piece in pieces:
                buffer += piece
                if len(buffer) >= PART_BYTES:
                    break
            else:
                over = True
            await asyncio.sleep(0)
        yield bytes(buffer)
        buffer.clear()


def write_value(value: object) -> Iterator[bytes]:
    """The JSON of a value in pieces, each made when it is asked for."""
    if isinstance(value, np.ndarray):
        yield from _write_array(value)
    elif isinstance(value, np.generic):
        yield encode_json(plain(value))
    elif isinstance(value, dict):
        yield from _enclose(b"{}", (_write_entry(key, each) for key, each in value.items()))
    elif isinstance(value, Iterator) or (isinstance(value, list) and _holds_more(value)):
        yield from _enclose(b"[]", (write_value(each) for each in value))
    else:
        yield encode_json(value)


def plain(array: NDArray[Any] | np.generic) -> Any:
    """An array as nested lists; bytes as the text that they are."""
    if array.dtype.kind in "OS":
        return _as_text(array.tolist())
    return array.tolist()


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_text(one) for one in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _holds_more(values: list[Any]) -> bool:
    return any(isinstance(each, dict | np.ndarray) for each in values)


def _write_entry(key: str, value: object) -> Iterator[bytes]:
    yield encode_json(key) + b":"
    yield from write_value(value)


def _enclose(marks: bytes, values: Iterable[Iterator[bytes]]) -> Iterator[bytes]:
    """Values between the two marks, with commas between them."""
    yield marks[:1]
    for place, value in enumerate(values):
        if place:
            yield b","
        yield from value
    yield marks[1:]


def _write_array(array: NDArray[Any]) -> Iterator[bytes]:
    if array.size <= PIECE or not array.ndim:
        yield encode_json(plain(array))
        return
    width = array.size // len(array)
    if width > PIECE:
        yield from _enclose(b"[]", (_write_array(row) for row in array))
        return
    step = PIECE // max(1, width)
    starts = range(0, len(array), step)
    pieces = (iter([encode_json(plain(array[at : at + step]))[1:-1]]) for at in starts)
    yield from _enclose(b"[]", pieces)
