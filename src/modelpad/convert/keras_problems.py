"""Why Keras could not read a model: layers that need TensorFlow, and unknown classes."""

from __future__ import annotations

import re
from pathlib import Path

from modelpad.errors import ConversionFailed, MissingExtra, ModelpadError

NEEDS_TENSORFLOW = re.compile(r"Layer (\w+) requires TensorFlow")
UNKNOWN_CLASS = re.compile(
    r"Could not locate (?:class|function) '(\w+)'|Unknown (?:layer|object|class)[^'\w]*'?(\w+)'?"
)


def explain_import_error(path: Path, error: ImportError) -> ModelpadError:
    """The error for a model whose layers need another package."""
    found = NEEDS_TENSORFLOW.search(str(error))
    if found is None:
        return MissingExtra(error.name or "keras", extra="keras")
    return ConversionFailed(
        f"{path.name} has a {found[1]} layer, which Keras runs with TensorFlow only and cannot"
        " export to ONNX.",
        hint="Save the model without that layer and send what it gives (integers), or export the"
        " whole model as a SavedModel and import that.",
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
