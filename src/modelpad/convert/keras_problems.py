"""Why Keras cannot read or export a model: layers that need TensorFlow, and unknown classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from modelpad.errors import ConversionFailed, MissingExtra, ModelpadError, first_line
from modelpad.foreign_json import Json

# Layers on strings and tables of values. Keras runs them with TensorFlow, whatever its backend.
NEEDS_TENSORFLOW = {
    "FeatureSpace", "HashedCrossing", "Hashing", "IntegerLookup", "StringLookup",
    "TextVectorization",
}  # fmt: skip
UNKNOWN_CLASS = re.compile(
    r"Could not locate (?:class|function) '(\w+)'|Unknown (?:layer|object|class)[^'\w]*'?(\w+)'?"
)


def check_exportable(where: str, config: Json) -> None:
    """Raises `ConversionFailed` if a configuration has layers that only TensorFlow runs."""
    found = next(_find_layers(config), None)
    if found is not None:
        raise needs_tensorflow(where, *found)


def needs_tensorflow(where: str, kind: str, name: str) -> ConversionFailed:
    """The error for a model with a layer that only TensorFlow runs."""
    return ConversionFailed(
        f"{where} has the {kind} layer {name!r}, which Keras runs with TensorFlow only and cannot"
        " export to ONNX.",
        hint="Save the model without this layer and send the integers that it gives; or save the"
        " whole model as a SavedModel with TensorFlow, and import that.",
    )


def _find_layers(config: Json) -> Iterator[tuple[str, str]]:
    """The class and name of each layer that only TensorFlow runs."""
    if isinstance(config, list):
        for each in config:
            yield from _find_layers(each)
    if not isinstance(config, dict):
        return
    kind, inner = config.get("class_name"), config.get("config")
    if isinstance(kind, str) and kind in NEEDS_TENSORFLOW:
        yield kind, str(inner.get("name", "")) if isinstance(inner, dict) else ""
    for each in config.values():
        yield from _find_layers(each)


def explain_import_error(path: Path, error: ImportError) -> ModelpadError:
    """The error for a model that needs another package."""
    if error.name:
        return MissingExtra(error.name, extra="keras")
    return ConversionFailed(
        f"Keras cannot read {path.name}: {first_line(error, 200)}",
        hint="Install the package that it names, and try again.",
    )


def find_missing_class(error: BaseException) -> str:
    """The class or function that Keras does not know; "" if the error is another one."""
    found = UNKNOWN_CLASS.search(str(error))
    return next((name for name in found.groups() if name), "") if found else ""


def missing_class(path: Path, name: str) -> ConversionFailed:
    """The error for a class that nobody has registered."""
    return ConversionFailed(
        f"{path.name} uses {name}, which is not a part of Keras.",
        hint="Name the Python file that defines it: --module FILE.py",
    )
