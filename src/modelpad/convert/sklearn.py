"""scikit-learn estimators and pipelines, in memory or from `.skops` files."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.archives import check_zip, unreadable
from modelpad.convert.graph import select_outputs
from modelpad.convert.source import ImportRequest, TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, NotTrusted, first_line
from modelpad.fields.arrays import Array, Arrays
from modelpad.foreign_json import Json

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto
    from sklearn.base import BaseEstimator

OPSET = 15
# Classes of scikit-learn, such as trees and losses, that skops does not list. Not functions.
OWN_CLASSES = re.compile(r"sklearn(\.\w+)*\._?[A-Z]\w*")
VECTORIZERS = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")


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
    """A fitted estimator. A classifier's output is probabilities, if it has them."""

    framework = "scikit-learn"

    def __init__(self, estimator: BaseEstimator) -> None:
        """Raises `ConversionFailed` if the estimator is not fitted."""
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
        self.takes_text = takes_text(estimator)
        if self.takes_text:
            self.inputs: tuple[TensorSpec, ...] = (TensorSpec("text", "string", (None, 1)),)
        else:
            width = getattr(estimator, "n_features_in_", None)
            self.inputs = (TensorSpec("input", "float32", (None, width)),)
        classes = getattr(estimator, "classes_", None)
        self.classes: tuple[str, ...] = ()
        if classes is not None and getattr(classes, "ndim", 1) == 1:
            self.classes = tuple(str(name) for name in classes)
        self.scores = next(
            (name for name in ("predict_proba", "decision_function") if hasattr(estimator, name)),
            None,
        )
        width = len(self.classes) if self.classes and self.scores else None
        name = "probabilities" if self.classes and self.scores else "output"
        self.outputs = (TensorSpec(name, "float32", (None, width)),)
        self.facts: Mapping[str, Json] = {
            "model": type(estimator).__name__,
            "scikit-learn": sklearn.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The estimator's output, (batch, classes) or (batch, outputs)."""
        values = next(iter(batch.values()))
        if self.takes_text:
            values = np.array([str(text) for text in values.reshape(-1)], dtype=object)
        return {self.outputs[0].name: self._predict(values)}

    def export(self) -> ModelProto:
        """The graph, exported by skl2onnx.

        Raises `MissingExtra`, or `ConversionFailed` with the exporter's reason.
        """
        try:
            from skl2onnx import to_onnx
            from skl2onnx.common.data_types import FloatTensorType, StringTensorType
        except ImportError as error:
            raise MissingExtra("skl2onnx", extra="sklearn") from error
        register_boosters()
        shape = [None, 1] if self.takes_text else [None, self.inputs[0].shape[1]]
        kind = StringTensorType if self.takes_text else FloatTensorType
        options = {"zipmap": False} if self.classes else {}
        if self.classes and self.scores == "decision_function":
            options["raw_scores"] = True
        try:
            model: ModelProto = to_onnx(
                self.estimator,
                initial_types=[(self.inputs[0].name, kind(shape))],
                options={id(self.estimator): options} if options else None,
                target_opset={"": OPSET, "ai.onnx.ml": 3},
            )
        except Exception as error:
            raise ConversionFailed(
                f"skl2onnx cannot convert the {type(self.estimator).__name__}:"
                f" {first_line(error, 300)}",
                hint="Remove the pipeline step that has no converter.",
            ) from error
        for node in model.graph.node:
            if node.op_type == "StringNormalizer":
                set_locale(node)
        return select_outputs(model, {model.graph.output[-1].name: self.outputs[0].name})

    def hard_samples(self) -> Sequence[Arrays]:
        """None."""
        return ()

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

    def _predict(self, values: Array) -> Array:
        if self.classes and self.scores == "predict_proba":
            return np.asarray(self.estimator.predict_proba(values), dtype=np.float32)
        if self.classes and self.scores:
            scores = np.asarray(self.estimator.decision_function(values), dtype=np.float32)
            return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
        if hasattr(self.estimator, "predict"):
            output = np.asarray(self.estimator.predict(values))
        else:
            output = np.asarray(self.estimator.transform(values))
        output = output.astype(np.float32) if output.dtype.kind == "f" else output
        return output.reshape(len(output), -1)


def set_locale(node: NodeProto) -> None:
    """Sets a StringNormalizer's locale to C, which exists on every machine.

    ONNX Runtime cannot load a graph with a missing locale, and defaults to en_US.
    """
    import onnx

    for attribute in node.attribute:
        if attribute.name == "locale":
            attribute.s = b"C"
            return
    node.attribute.append(onnx.helper.make_attribute("locale", "C"))


def takes_text(estimator: BaseEstimator) -> bool:
    """Whether the first step is a text vectorizer."""
    first = estimator
    while hasattr(first, "steps"):
        first = first.steps[0][1]
    return type(first).__name__ in VECTORIZERS


def register_boosters() -> None:
    """Registers XGBoost's and LightGBM's estimators with skl2onnx, if they have been imported."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes as classifier,
    )
    from skl2onnx.common.shape_calculator import (
        calculate_linear_regressor_output_shapes as regressor,
    )

    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    if "xgboost" in sys.modules:
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

        boosters = sys.modules["xgboost"]
        for name, shapes in (("XGBClassifier", classifier), ("XGBRegressor", regressor)):
            kinds = options if shapes is classifier else None
            update_registered_converter(
                getattr(boosters, name), f"Xgb{name}", shapes, convert_xgboost, options=kinds
            )
    if "lightgbm" in sys.modules:
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

        boosters = sys.modules["lightgbm"]
        for name, shapes in (("LGBMClassifier", classifier), ("LGBMRegressor", regressor)):
            kinds = options if shapes is classifier else {"split": None}
            update_registered_converter(
                getattr(boosters, name), f"Lgbm{name}", shapes, convert_lightgbm, options=kinds
            )
