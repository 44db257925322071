"""Large JSON responses, encoded a piece at a time so that other requests run in between.

An array is encoded while it is sent: encoding ten million numbers at once would block the event
loop, and hold the GIL, for seconds, and need five times the memory of the array.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from modelpad.engine import LARGE_ARRAY
from modelpad.errors import ModelFailed
from modelpad.server.http.messages import JSON, Response, encode_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE = 8192  # numbers encoded at once: about a millisecond
PART_BYTES = 64 * 1024  # pieces are joined to parts of at least this size
WHOLE_BYTES = 1024 * 1024  # shorter responses are sent as a whole
CHECKED = 1024 * 1024  # numbers checked at once

# Held while a piece is encoded: the streams of a loop take turns, so that delays do not add up.
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def is_large(arrays: Iterable[NDArray[np.generic]]) -> bool:
    """Whether a response with these arrays should be encoded in pieces."""
    return sum(array.size for array in arrays) > LARGE_ARRAY


def holds_array(answer: Mapping[str, object]) -> bool:
    """Whether an encoded response still contains arrays, to be encoded in pieces."""
    values = [*answer.values()]
    nested = (each for value in values if isinstance(value, dict) for each in value.values())
    return any(isinstance(each, np.ndarray) for each in (*values, *nested))


async def check_finite(array: NDArray[np.generic]) -> None:
    """Raises `ModelFailed` if the array contains NaN or infinity, which JSON does not have."""
    if array.dtype.kind != "f":
        return
    flat = array.reshape(-1)
    for start in range(0, len(flat), CHECKED):
        if not np.isfinite(flat[start : start + CHECKED]).all():
            raise ModelFailed(
                "The model returned NaN or infinity, which JSON does not have.",
                hint="Ask for binary outputs, or check the model on this input.",
            )
        await asyncio.sleep(0)


def respond_stream(value: object, outputs: Mapping[str, object]) -> Response:
    """A JSON response in pieces; `value` may contain arrays, and iterators in place of lists.

    `outputs` are the arrays that a shadow's outputs are compared with.
    """
    return Response(content_type=JSON, parts=stream(value), outputs=outputs)


async def respond_parts(parts: AsyncIterator[bytes]) -> Response:
    """A JSON response: whole if it is short, else in parts as they are produced."""
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
    """Encodes a value that may contain arrays, and iterators in place of lists."""
    async for part in take_turns(write_value(value)):
        yield part


async def take_turns(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Joins pieces to parts worth sending, and lets other tasks run in between."""
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
    """Encodes a value lazily, piece by piece."""
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


def plain(array: NDArray[np.generic] | np.generic) -> object:
    """Converts an array to nested lists, and bytes to text."""
    if array.dtype.kind in "OS":
        return _as_text(array.tolist())
    return array.tolist()


def _as_text(value: object) -> object:
    if isinstance(value, list):
        return [_as_text(one) for one in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _holds_more(values: list[object]) -> bool:
    return any(isinstance(each, dict | np.ndarray) for each in values)


def _write_entry(key: str, value: object) -> Iterator[bytes]:
    yield encode_json(key) + b":"
    yield from write_value(value)


def _enclose(marks: bytes, values: Iterable[Iterator[bytes]]) -> Iterator[bytes]:
    """Separates values by commas and encloses them in `marks`."""
    yield marks[:1]
    for place, value in enumerate(values):
        if place:
            yield b","
        yield from value
    yield marks[1:]


def _write_array(array: NDArray[np.generic]) -> Iterator[bytes]:
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
