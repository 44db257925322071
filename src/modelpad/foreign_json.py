"""JSON from files that others wrote: any defect is a `ValueError`, deep nesting included."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 200


def load_json(body: bytes | str, max_depth: int = MAX_DEPTH) -> Any:
    """The value that `body` holds.

    Raises `ValueError` for invalid JSON, invalid UTF-8, and arrays or objects nested beyond
    `max_depth`. Python's parser reports deep nesting as `RecursionError`, at a depth that depends
    on the caller; code that walks the value would fail the same way, so the limit is ours.
    """
    too_deep = f"arrays and objects are nested more than {max_depth} deep"
    try:
        value = json.loads(body)
    except RecursionError:
        raise ValueError(too_deep) from None
    level = [value]
    for _ in range(max_depth):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return value
    raise ValueError(too_deep)


def _children(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in inner if isinstance(each, dict | list)]
