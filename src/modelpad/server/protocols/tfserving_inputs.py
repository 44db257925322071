"""Reads the bodies of TensorFlow Serving's REST API: rows, columns, examples, bytes as base64."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, TypeGuard, cast

from modelpad.bundle import DEFAULT_SIGNATURE
from modelpad.errors import InvalidInput
from modelpad.server.protocols.tensors import MAX_SIDES, read_numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelpad.foreign_json import Json
    from modelpad.server.models import ServedModel

    Arrays = dict[str, NDArray[np.generic]]

# Names that clients of models with a single signature send: TensorFlow Serving's examples do.
USUAL_NAMES = ("", DEFAULT_SIGNATURE, "predict", "predict_images")


def check_record(record: object) -> dict[str, object]:
    """A request to predict. Raises `InvalidInput` for what is none."""
    if not isinstance(record, dict) or ("instances" in record) == ("inputs" in record):
        raise InvalidInput(
            "Request must have either 'instances' or 'inputs'.",
            hint='Send {"instances": [...]} with an item a row, or {"inputs": {...}} with columns.',
            expected="instances or inputs",
            got=", ".join(record) if isinstance(record, dict) else type(record).__name__,
        )
    return record


def read_signature(model: ServedModel, name: object) -> str:
    """The name of the signature that a request asks for, "" for the main one.

    Raises `InvalidInput` if the model has no such signature.
    """
    signatures = model.signature_names
    if len(signatures) == 1 and name in USUAL_NAMES:
        return ""
    model.select(str(name))
    return "" if name == signatures[0] else str(name)


def read_rows(instances: object, names: list[str]) -> Arrays:
    """The inputs' arrays by name, of rows: an item each. Raises `InvalidInput`."""
    if len(names) == 1 and _is_array(instances):
        return {names[0]: _read_value(instances, names[0])}
    instances = _as_lists(instances)
    if not isinstance(instances, list) or not instances:
        raise InvalidInput(
            "'instances' must be a list of at least one item.",
            hint="Send an item a row.",
            field="instances",
            expected="a list",
            got=type(instances).__name__,
        )
    first = instances[0]
    if not isinstance(first, dict) or set(first) == {"b64"}:
        if len(names) != 1:
            raise InvalidInput(
                f"Each instance must be an object with: {', '.join(names)}.",
                field="instances",
                expected="an object",
                got=type(first).__name__,
            )
        return {names[0]: _read_value(instances, names[0])}
    keys = set(first)
    rows = [row for row in instances if isinstance(row, dict) and set(row) == keys]
    if len(rows) != len(instances):
        raise InvalidInput(
            "Every instance must have the same inputs.",
            field="instances",
            expected=", ".join(sorted(keys)),
            got="objects with different keys",
        )
    return {key: _read_value([row[key] for row in rows], key) for key in first}


def read_columns(inputs: object, names: list[str]) -> Arrays:
    """The inputs' arrays by name, of columns: an input each. Raises `InvalidInput`."""
    if isinstance(inputs, dict) and set(inputs) != {"b64"}:
        return {name: _read_value(value, name) for name, value in inputs.items()}
    if len(names) != 1:
        raise InvalidInput(
            f"'inputs' must be an object with: {', '.join(names)}.",
            field="inputs",
            expected="an object",
            got=type(_as_lists(inputs)).__name__,
        )
    return {names[0]: _read_value(inputs, names[0])}


def _is_array(value: object) -> TypeGuard[NDArray[np.generic]]:
    import numpy as np

    return isinstance(value, np.ndarray)


def _as_lists(value: object) -> object:
    """An array as the nested lists that it was."""
    return value.tolist() if _is_array(value) else value


def _read_value(value: object, name: str) -> NDArray[np.generic]:
    return read_numbers(_unpack_bytes(value, name), name)


def _unpack_bytes(value: object, name: str, depth: int = 0) -> object:
    if isinstance(value, list):
        if depth > MAX_SIDES:
            return value  # too deep for a tensor: rejected where the numbers are read
        if value and isinstance(value[0], int | float):
            return value  # numbers: nothing to unpack
        return [_unpack_bytes(one, name, depth + 1) for one in value]
    if isinstance(value, dict) and set(value) == {"b64"}:
        try:
            # Anything but a string is a `TypeError`.
            return base64.b64decode(cast(str, value["b64"]), validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise InvalidInput(
                f"The base64 of {name!r} cannot be read: {error}.",
                field=name,
                expected="base64",
                got=str(value["b64"])[:40],
            ) from error
    return value


def read_examples(record: Json, names: list[str]) -> Arrays:
    """The inputs' arrays by name, of examples that may share a context. Raises `InvalidInput`."""
    given = record if isinstance(record, dict) else {}
    examples = given.get("examples")
    if not isinstance(examples, list) or not examples:
        raise InvalidInput(
            "Request must have 'examples', a list.",
            hint='Send {"examples": [{"input": ...}, ...]}.',
            field="examples",
            expected="a list of objects",
            got=type(examples).__name__,
        )
    shared = given.get("context") or {}
    if not isinstance(shared, dict):
        raise InvalidInput(
            "'context' must be an object with inputs that all examples share.",
            field="context",
            expected="an object",
            got=type(shared).__name__,
        )
    rows: list[Json] = [shared | row if isinstance(row, dict) else row for row in examples]
    return read_rows(rows, names)
