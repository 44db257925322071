"""Building blocks of JSON Schema for the OpenAPI document."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}


def make_object(required: Schema | None = None, **optional: Any) -> Schema:
    """An object with required and optional properties."""
    must = required or {}
    schema: Schema = {"type": "object", "properties": must | optional}
    return schema | {"required": list(must)} if must else schema


def make_list(items: Schema, **more: Any) -> Schema:
    """A list of such items."""
    return {"type": "array", "items": items, **more}


def refer(name: str) -> Schema:
    """A reference to the component schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}
