"""Replaces other packages' containers in a `.pt2` file by dictionaries.

A module may return an object of its own class, such as the `ModelOutput` of Hugging Face's models.
The file names the class and the fields, and PyTorch can only read it after that package has
registered the class. A dictionary has the same fields, and needs no package.
"""

from __future__ import annotations

import json
import re

from modelpad.foreign_json import Json, load_json

PLAIN_PACKAGES = ("builtins.", "collections.", "torch.")
CLASS_NAME = re.compile(r"[A-Za-z_][\w.]*\.\w+")


def without_foreign_containers(record: Json) -> Json:
    """A copy of a program's JSON with dictionaries in place of other packages' containers."""
    if isinstance(record, list):
        return [without_foreign_containers(each) for each in record]
    if not isinstance(record, dict):
        return record
    return {
        key: _rewrite_structure(value)
        if key in ("in_spec", "out_spec") and isinstance(value, str)
        else without_foreign_containers(value)
        for key, value in record.items()
    }


def _rewrite_structure(text: str) -> str:
    """A serialized tree, rewritten; unchanged if it is not one."""
    try:
        parsed = load_json(text)
    except ValueError:
        return text
    changed = _rewrite(parsed)
    return text if changed == parsed else json.dumps(changed)


def _rewrite(record: Json) -> Json:
    if isinstance(record, list):
        return [_rewrite(each) for each in record]
    if not isinstance(record, dict):
        return record
    inner: dict[str, Json] = {key: _rewrite(value) for key, value in record.items()}
    keys = _field_names(inner)
    if keys is None:
        return inner
    return {**inner, "type": "builtins.dict", "context": json.dumps(keys)}


def _field_names(record: dict[str, Json]) -> list[str] | None:
    """The fields of another package's container; None if it is not one.

    Their names are the whole context, or, for a data class, the first of two lists in it.
    """
    kind, context, children = (record.get(key) for key in ("type", "context", "children_spec"))
    if not isinstance(kind, str) or kind.startswith(PLAIN_PACKAGES):
        return None
    if not CLASS_NAME.fullmatch(kind) or not isinstance(children, list):
        return None
    try:
        names = load_json(context) if isinstance(context, str) else context
    except ValueError:
        return None
    if isinstance(names, list) and len(names) == 2 and isinstance(names[0], list):
        names = names[0]
    if not isinstance(names, list) or len(set(map(str, names))) != len(children):
        return None
    keys = [name for name in names if isinstance(name, str)]
    return keys if len(keys) == len(children) else None
