"""A model, as OpenAI's clients read it."""

from __future__ import annotations


def describe_model(name: str, created: str) -> dict[str, object]:
    """The entry of a model whose bundle was created at that time."""
    from datetime import datetime

    try:
        seconds = int(datetime.fromisoformat(created).timestamp())
    except ValueError:
        seconds = 0
    return {"id": name, "object": "model", "created": seconds, "owned_by": "modelpad"}
