"""JSON from untrusted files: any defect is a `ValueError`, deep nesting included.

The `..._at` functions raise `KeyError` for a missing key and `TypeError` for a value of another
type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_DEPTH = 200
NESTED = (dict, list)


def load_json(body: bytes | str, max_depth: int = MAX_DEPTH) -> Json:
    """Parses `body`.

    Raises `ValueError` for invalid JSON, invalid UTF-8, and arrays or objects nested beyond
    `max_depth`. Python's parser reports deep nesting as `RecursionError`, at a depth that depends
    on the caller; code that walks the value would fail the same way, hence our own limit.
    """
    too_deep = f"arrays and objects are nested more than {max_depth} deep"
    try:
        value: Json = json.loads(body)
    except RecursionError:
        raise ValueError(too_deep) from None
    level = [value] if isinstance(value, NESTED) else []
    for _ in range(max_depth):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, NESTED)
        ]
        if not level:
            return value
    raise ValueError(too_deep)


def dump_json(value: object) -> bytes:
    """Compact JSON in UTF-8 that every parser reads: null for NaN and infinity."""
    plain = json.loads(json.dumps(value), parse_constant=lambda _: None)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def text_at(record: Mapping[str, Json], key: str) -> str:
    """The string at `key`."""
    value = record[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is not a string")
    return value


def integer_at(record: Mapping[str, Json], key: str) -> int:
    """The integer at `key`."""
    value = record[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{key} is not an integer")
    return value


def optional_integer_at(record: Mapping[str, Json], key: str) -> int | None:
    """The integer at `key`, or None for `null` or a missing key."""
    return None if record.get(key) is None else integer_at(record, key)


def optional_number_at(record: Mapping[str, Json], key: str) -> float | None:
    """The number at `key`, or None for `null` or a missing key."""
    value = record.get(key)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise TypeError(f"{key} is not a number")
    return value


def boolean_at(record: Mapping[str, Json], key: str) -> bool:
    """The boolean at `key`."""
    value = record[key]
    if not isinstance(value, bool):
        raise TypeError(f"{key} is not a boolean")
    return value


def list_at(record: Mapping[str, Json], key: str) -> list[Json]:
    """The array at `key`."""
    return as_list(record[key], key)


def object_at(record: Mapping[str, Json], key: str) -> dict[str, Json]:
    """The object at `key`."""
    return as_object(record[key], key)


def as_list(value: Json, name: str) -> list[Json]:
    """`value` itself, if it is an array. Raises `TypeError`."""
    if not isinstance(value, list):
        raise TypeError(f"{name} is not an array")
    return value


def as_object(value: Json, name: str) -> dict[str, Json]:
    """`value` itself, if it is an object. Raises `TypeError`."""
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not an object")
    return value
