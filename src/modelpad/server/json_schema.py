"""Building blocks of JSON Schema for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping

Schema = dict[str, object]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}


def make_object(required: Mapping[str, object] | None = None, **optional: object) -> Schema:
    """An object with required and optional properties."""
    must = required or {}
    schema: Schema = {"type": "object", "properties": {**must, **optional}}
    return schema | {"required": list(must)} if must else schema


def make_list(items: Schema, **more: object) -> Schema:
    """A list of such items."""
    return {"type": "array", "items": items, **more}


def refer(name: str) -> Schema:
    """A reference to the component schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}
