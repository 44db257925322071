"""scikit-learn estimators and pipelines, in memory or from `.skops` files."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelpad.convert.archives import check_zip, unreadable
from modelpad.convert.sklearn_graph import export
from modelpad.convert.sklearn_inputs import describe_inputs
from modelpad.convert.sklearn_outputs import call, cast, choose_methods, describe_outputs
from modelpad.convert.sklearn_samples import find_samples, stack
from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, NotTrusted
from modelpad.fields.arrays import Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from onnx import ModelProto
    from sklearn.base import BaseEstimator

# Classes of scikit-learn, such as trees and losses, that skops does not list. Not functions.
OWN_CLASSES = re.compile(r"sklearn(\.\w+)*\._?[A-Z]\w*")


def open_skops(path: Path, request: ImportRequest) -> SklearnSource:
    """The estimator in a `.skops` file.

    Raises:
        NotTrusted: it contains types that are not part of scikit-learn.
        ConversionFailed: it cannot be read.
        MissingExtra: skops is not installed.
    """
    try:
        import skops.io
    except ImportError as error:
        raise MissingExtra("skops", extra="sklearn") from error
    check_zip(path)
    try:
        types = skops.io.get_untrusted_types(file=path)
    except Exception as error:
        raise unreadable(path, str(error)) from error
    other = [name for name in types if not is_own_class(name)]
    if other and not request.trust:
        raise NotTrusted(
            f"{path.name} contains types that are not part of scikit-learn:"
            f" {', '.join(other[:5])}.",
            hint="If you trust them, import it with --trust.",
            found=other,
        )
    try:
        return SklearnSource(skops.io.load(path, trusted=types))
    except (ImportError, AttributeError, ValueError, KeyError) as error:
        raise unreadable(path, str(error)) from error


def is_own_class(name: str) -> bool:
    """Whether a dotted name is a class defined by scikit-learn, not one that it imports."""
    if not OWN_CLASSES.fullmatch(name):
        return False
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and found.__module__.partition(".")[0] == "sklearn"


class SklearnSource:
    """A fitted estimator, with the inputs and outputs of its own methods."""

    framework = "scikit-learn"

    def __init__(self, estimator: BaseEstimator) -> None:
        """Raises `ConversionFailed` if the estimator is not fitted, or has no outputs."""
        import sklearn
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        try:
            check_is_fitted(estimator)
        except (NotFittedError, TypeError) as error:
            raise ConversionFailed(
                f"The {type(estimator).__name__} is not fitted.", hint="Call fit first."
            ) from error
        self.estimator = estimator
        self.methods = choose_methods(estimator)
        self.columns = describe_inputs(estimator)
        self.inputs: tuple[TensorSpec, ...] = self.columns.specs
        self.samples = find_samples(self.columns, estimator, self._call)
        self.outputs: tuple[TensorSpec, ...] = describe_outputs(
            self._call(stack(self.samples[:1])), self.columns.dtype
        )
        clash = {spec.name for spec in self.inputs} & {spec.name for spec in self.outputs}
        if clash:
            raise ConversionFailed(
                f"The column {min(clash)!r} has the name of one of the model's outputs.",
                hint="Rename the column and fit again.",
            )
        classes: Any = getattr(estimator, "classes_", None)
        is_flat = isinstance(classes, np.ndarray) and classes.ndim == 1
        self.classes = tuple(str(name) for name in classes) if is_flat else ()
        self.facts: Mapping[str, Json] = {
            "model": type(estimator).__name__,
            "scikit-learn": sklearn.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """What the estimator's methods give for raw inputs, by output name."""
        return cast(self._call(batch), self.outputs)

    def export(self) -> ModelProto:
        """The graph. Raises `MissingExtra`, or `ConversionFailed` with the true reason."""
        return export(self.estimator, self.columns, self.outputs, self.methods)

    def hard_samples(self) -> Sequence[Arrays]:
        """Raw inputs at the edges of what the estimator has learnt, as far as it takes them."""
        return self.samples

    def save(self, folder: Path) -> Path:
        """The estimator as a skops file in `folder`. Raises `MissingExtra`."""
        try:
            import skops.io
        except ImportError as error:
            raise MissingExtra("skops", extra="sklearn") from error
        skops.io.dump(self.estimator, folder / "model.skops")
        return folder / "model.skops"

    def files(self) -> Mapping[str, bytes | Path]:
        """No files: a bundle never contains code, and estimators are pickled."""
        return {}

    def _call(self, batch: Arrays) -> Arrays:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return call(self.estimator, self.methods, self.columns.build(batch))
