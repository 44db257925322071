"""Reads nested lists of numbers from JSON without making a list for each row.

NumPy needs far longer to join many short lists than to read a long one. So the brackets are
compared with those of a full array, all at once, and then left out. Whatever is not a full array of
numbers, or has long rows, is decoded as usual, with the usual errors.
"""

from __future__ import annotations

import math
import re
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
MAX_WHOLE = 2.0**63
NUMBERS = b"0123456789.+-eE \t\r\n"
# The only field of an object, up to its list, as in most requests.
ONLY_FIELD = re.compile(rb'\s*\{\s*"(\w+)"\s*:\s*(?=\[)')

_split = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decode_floats = msgspec.json.Decoder(list[float]).decode


def parse_arrays(request: Request, body: bytes) -> object:
    """A request's body as `Request.parse_json` decodes it, with its full arrays of numbers as such.

    Those are values of the object, or of objects in it. They have the type that NumPy gives to such
    lists: int64, uint64 or float64. Raises as `Request.parse_json`.
    """
    request.reservation.grow(estimate_json(body))
    found = ONLY_FIELD.match(body)
    if found is not None and body.endswith(b"}"):
        array = read_short_rows(body[found.end() : -1])
        if array is not None:
            return {found[1].decode(): array}
    return read_fields(body)


def read_fields(text: bytes, objects: int = 2) -> object:
    """A value; arrays are looked for in objects down to so many levels. Raises as `parse_json`."""
    first = text[:1] if len(text) >= MIN_BYTES else b""
    if first == b"[":
        array = read_short_rows(text)
        if array is not None:
            return array
    if first == b"{" and objects:
        try:
            fields = _split.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return parse_json(text)  # which says what is wrong
        return {name: read_fields(bytes(raw), objects - 1) for name, raw in fields.items()}
    return parse_json(text)


def read_short_rows(text: bytes) -> NDArray[np.generic] | None:
    """As `read_array`; None also where that would not be faster."""
    is_long = len(text) < MIN_BYTES or text.find(b"]", 0, ROW_BYTES) < 0
    return None if is_long else read_array(text)


def read_array(text: bytes) -> NDArray[np.generic] | None:
    """The array of nested lists in JSON; None if it is not a full one of numbers, or not JSON."""
    import numpy as np

    shape = find_shape(text.translate(None, NUMBERS))
    if not shape:
        return None
    flat = b"[%b]" % text.translate(None, b"[]")
    try:
        array = _read_floats(flat) if b"." in flat else None
        if array is None:
            array = np.asarray(msgspec.json.decode(flat))
    except msgspec.DecodeError:
        return None  # there is an empty list
    fits = array.shape == (math.prod(shape),) and array.dtype.kind in "iuf"
    return array.reshape(shape) if fits else None


def _read_floats(flat: bytes) -> NDArray[np.float64] | None:
    """A list with a float in it; None if it may have whole numbers that only Python has."""
    import numpy as np

    floats = _decode_floats(flat)
    array = np.fromiter(floats, np.float64, len(floats))
    return array if array.min() > -MAX_WHOLE and array.max() < MAX_WHOLE else None


def find_shape(brackets: bytes) -> tuple[int, ...]:
    """The shape of the array that has these brackets and commas, () if no full array has.

    An empty list counts as a list of one.
    """
    depth = len(brackets) - len(brackets.lstrip(b"["))
    row, sides = b"", list[int]()
    for level in reversed(range(depth if depth <= MAX_DEPTH else 0)):
        begin = level + 1  # of the first row
        closed = depth - level  # lists that end with its last row, this one included
        end = brackets.find(b"]" * closed, begin) + closed - 1 if level else len(brackets) - 1
        count = (end - begin) // (len(row) + 1) + 1
        row = b"[%b]" % b",".join([row] * count)
        sides.insert(0, count)
    return tuple(sides) if row == brackets else ()
