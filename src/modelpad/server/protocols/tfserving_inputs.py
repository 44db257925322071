"""Reads the bodies of TensorFlow Serving's REST API: rows, columns, examples, bytes as base64."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from modelpad.errors import InvalidInput
from modelpad.server.protocols.tensors import MAX_SIDES, read_numbers

SIGNATURES = ("", "serving_default", "predict", "predict_images")


def check_record(record: Any) -> dict[str, Any]:
    """A request to predict. Raises `InvalidInput` for what is none."""
    if not isinstance(record, dict) or ("instances" in record) == ("inputs" in record):
        raise InvalidInput(
            "Request must have either 'instances' or 'inputs'.",
            hint='Send {"instances": [...]} with an item a row, or {"inputs": {...}} with columns.',
            expected="instances or inputs",
            got=", ".join(record) if isinstance(record, dict) else type(record).__name__,
        )
    return record


def check_signature(name: str) -> None:
    """Raises `InvalidInput` for an unknown signature."""
    if name not in SIGNATURES:
        raise InvalidInput(
            f'Serving signature name: "{name}" not found in signature def.',
            hint="Leave signature_name out, or send serving_default.",
            field="signature_name",
            expected="serving_default",
            got=str(name),
        )


def read_rows(instances: Any, names: list[str]) -> dict[str, Any]:
    """The inputs' arrays by name, of rows: an item each. Raises `InvalidInput`."""
    if not isinstance(instances, list) or not instances:
        raise InvalidInput(
            "'instances' must be a list of at least one item.",
            hint="Send an item a row.",
            field="instances",
            expected="a list",
            got=type(instances).__name__,
        )
    named = isinstance(instances[0], dict) and set(instances[0]) != {"b64"}
    if not named:
        if len(names) != 1:
            raise InvalidInput(
                f"Each instance must be an object with: {', '.join(names)}.",
                field="instances",
                expected="an object",
                got=type(instances[0]).__name__,
            )
        return {names[0]: _read_value(instances, names[0])}
    keys = set(instances[0])
    if any(not isinstance(row, dict) or set(row) != keys for row in instances):
        raise InvalidInput(
            "Every instance must have the same inputs.",
            field="instances",
            expected=", ".join(sorted(keys)),
            got="objects with different keys",
        )
    return {key: _read_value([row[key] for row in instances], key) for key in instances[0]}


def read_columns(inputs: Any, names: list[str]) -> dict[str, Any]:
    """The inputs' arrays by name, of columns: an input each. Raises `InvalidInput`."""
    if isinstance(inputs, dict) and set(inputs) != {"b64"}:
        return {name: _read_value(value, name) for name, value in inputs.items()}
    if len(names) != 1:
        raise InvalidInput(
            f"'inputs' must be an object with: {', '.join(names)}.",
            field="inputs",
            expected="an object",
            got=type(inputs).__name__,
        )
    return {names[0]: _read_value(inputs, names[0])}


def _read_value(value: Any, name: str) -> Any:
    return read_numbers(_unpack_bytes(value, name), name)


def _unpack_bytes(value: Any, name: str, depth: int = 0) -> Any:
    if isinstance(value, list):
        if depth > MAX_SIDES:
            return value  # too deep for a tensor: rejected where the numbers are read
        if value and isinstance(value[0], int | float):
            return value  # numbers: nothing to unpack
        return [_unpack_bytes(one, name, depth + 1) for one in value]
    if isinstance(value, dict) and set(value) == {"b64"}:
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise InvalidInput(
                f"The base64 of {name!r} cannot be read: {error}.",
                field=name,
                expected="base64",
                got=str(value["b64"])[:40],
            ) from error
    return value


def read_examples(record: Any, names: list[str]) -> dict[str, Any]:
    """The inputs' arrays by name, of examples that may share a context. Raises `InvalidInput`."""
    examples = record.get("examples") if isinstance(record, dict) else None
    if not isinstance(examples, list) or not examples:
        raise InvalidInput(
            "Request must have 'examples', a list.",
            hint='Send {"examples": [{"input": ...}, ...]}.',
            field="examples",
            expected="a list of objects",
            got=type(examples).__name__,
        )
    shared = record.get("context") or {}
    if not isinstance(shared, dict):
        raise InvalidInput(
            "'context' must be an object with inputs that all examples share.",
            field="context",
            expected="an object",
            got=type(shared).__name__,
        )
    rows = [shared | row if isinstance(row, dict) else row for row in examples]
    return read_rows(rows, names)
