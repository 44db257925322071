"""Reads nested lists of numbers from JSON without making a list for each row.

NumPy needs far longer to join many short lists than to read a long one. So the brackets are
compared with those of a full array, all at once, and then left out. Whatever is not a full array of
numbers, or has long rows, is decoded as usual, with the usual errors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from modelpad.server.http.decoding import estimate_json
from modelpad.server.http.messages import Request, parse_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_BYTES = 256  # smaller arrays, and those with longer rows, are as fast as lists
ROW_BYTES = 64
MAX_DEPTH = 32
NUMBERS = b"0123456789.+-eE \t\r\n"

_split = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse_arrays(request: Request, body: bytes) -> object:
    """A request's body as `Request.parse_json` decodes it, with its full arrays of numbers as such.

    Those are values of the object, or of objects in it. They have the type that NumPy gives to such
    lists: int64, uint64 or float64. Raises as `Request.parse_json`.
    """
    request.reservation.grow(estimate_json(body))
    return read_fields(body)


def read_fields(text: bytes, objects: int = 2) -> object:
    """A value; arrays are looked for in objects down to so many levels. Raises as `parse_json`."""
    size = len(text)
    first = text[:1] if MIN_BYTES <= size < ROW_BYTES * text.count(b"[") else b""
    if first == b"[":
        array = read_array(text)
        if array is not None:
            return array
    if first == b"{" and objects:
        try:
            fields = _split.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return parse_json(text)  # which says what is wrong
        return {name: read_fields(bytes(raw), objects - 1) for name, raw in fields.items()}
    return parse_json(text)


def read_array(text: bytes) -> NDArray[np.generic] | None:
    """The array of nested lists in JSON; None if it is not a full one of numbers, or not JSON."""
    import numpy as np

    shape = find_shape(text.translate(None, NUMBERS))
    if not shape:
        return None
    try:
        numbers = msgspec.json.decode(b"[%b]" % text.translate(None, b"[]"))
    except msgspec.DecodeError:
        return None  # there is an empty list
    array = np.asarray(numbers)
    fits = array.shape == (math.prod(shape),) and array.dtype.kind in "iuf"
    return array.reshape(shape) if fits else None


def find_shape(brackets: bytes) -> tuple[int, ...]:
    """The shape of the array that has these brackets and commas, () if no full array has.

    An empty list counts as a list of one.
    """
    depth = len(brackets) - len(brackets.lstrip(b"["))
    row, sides = b"", list[int]()
    for level in reversed(range(depth if depth <= MAX_DEPTH else 0)):
        begin = level + 1  # of the first row
        end = brackets.find(row + b"]", begin)
        count = (end - begin) // (len(row) + 1) + 1
        row = b"[%b]" % b",".join([row] * count)
        sides.insert(0, count)
    return tuple(sides) if row == brackets else ()
