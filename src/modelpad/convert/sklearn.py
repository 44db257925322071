"""scikit-learn estimators and pipelines, live or from `.skops`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpad.convert.archives import check_zip, unreadable
from modelpad.convert.graph import keep_outputs
from modelpad.convert.source import Arrays, ImportRequest, TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, NotTrusted, first_line

OPSET = 15
# Classes of scikit-learn itself, as trees and losses, which skops does not list; no functions.
OWN_CLASSES = re.compile(r"sklearn(\.\w+)*\._?[A-Z]\w*")
VECTORIZERS = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")


def open_skops(path: Path, request: ImportRequest) -> SklearnSource:
    """The estimator in a `.skops` file.

    Raises:
        NotTrusted: it holds types that are not scikit-learn's own, by name.
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
    strange = [name for name in types if not is_own_class(name)]
    if strange and not request.trust:
        raise NotTrusted(
            f"{path.name} holds types that are not scikit-learn's own: {', '.join(strange[:5])}.",
            hint="If you know them, import it with --trust.",
            found=strange,
        )
    try:
        return SklearnSource(skops.io.load(path, trusted=types))
    except (ImportError, AttributeError, ValueError, KeyError) as error:
        raise unreadable(path, str(error)) from error


def is_own_class(name: str) -> bool:
    """Whether a dotted name is a class that scikit-learn defines, rather than one it imports."""
    if not OWN_CLASSES.fullmatch(name):
        return False
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and found.__module__.partition(".")[0] == "sklearn"


class SklearnSource:
    """A fitted estimator; a classifier answers probabilities, anything else what it predicts."""

    framework = "scikit-learn"
    scales_itself = False

    def __init__(self, estimator: Any) -> None:
        """Raises `ConversionFailed` for an estimator that is not fitted."""
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
        answers = len(self.classes) if self.classes and self.scores else None
        name = "probabilities" if self.classes and self.scores else "output"
        self.outputs = (TensorSpec(name, "float32", (None, answers)),)
        self.facts: Mapping[str, Any] = {
            "model": type(estimator).__name__,
            "scikit-learn": sklearn.__version__,
        }

    def run(self, batch: Arrays) -> Arrays:
        """The estimator's own answers, (batch, classes) or (batch, outputs)."""
        values = next(iter(batch.values()))
        if self.takes_text:
            values = np.array([str(text) for text in values.reshape(-1)], dtype=object)
        return {self.outputs[0].name: self._answer(values)}

    def export(self) -> Any:
        """The graph by skl2onnx. Raises `MissingExtra`, or `ConversionFailed` with its reason."""
        try:
            from skl2onnx import to_onnx
            from skl2onnx.common.data_types import FloatTensorType, StringTensorType
        except ImportError as error:
            raise MissingExtra("skl2onnx", extra="sklearn") from error
        register_boosters()
        shape = [None, 1] if self.takes_text else [None, self.inputs[0].shape[1]]
        kind = StringTensorType if self.takes_text else FloatTensorType
        options: dict[str, Any] = {"zipmap": False} if self.classes else {}
        if self.classes and self.scores == "decision_function":
            options["raw_scores"] = True
        try:
            model = to_onnx(
                self.estimator,
                initial_types=[(self.inputs[0].name, kind(shape))],
                options={id(self.estimator): options} if options else None,
                target_opset={"": OPSET, "ai.onnx.ml": 3},
            )
        except Exception as error:
            raise ConversionFailed(
                f"skl2onnx cannot convert the {type(self.estimator).__name__}:"
                f" {first_line(error, 300)}",
                hint="Every step of a pipeline needs a converter; take out the one it names.",
            ) from error
        for node in model.graph.node:
            if node.op_type == "StringNormalizer":
                set_locale(node)
        wanted = model.graph.output[-1].name
        return keep_outputs(model, {wanted: self.outputs[0].name})

    def files(self) -> Mapping[str, bytes | Path]:
        """None: an estimator's own file is a pickle or close to it."""
        return {}

    def _answer(self, values: NDArray[Any]) -> NDArray[Any]:
        if self.classes and self.scores == "predict_proba":
            return np.asarray(self.estimator.predict_proba(values), dtype=np.float32)
        if self.classes and self.scores:
            scores = np.asarray(self.estimator.decision_function(values), dtype=np.float32)
            return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
        if hasattr(self.estimator, "predict"):
            answer = np.asarray(self.estimator.predict(values))
        else:
            answer = np.asarray(self.estimator.transform(values))
        answer = answer.astype(np.float32) if answer.dtype.kind == "f" else answer
        return answer.reshape(len(answer), -1)


def set_locale(node: Any) -> None:
    """Has a StringNormalizer use the locale C, which is everywhere; ONNX Runtime refuses to open a
    graph whose locale the machine lacks, and takes en_US where none is named."""
    import onnx

    for attribute in node.attribute:
        if attribute.name == "locale":
            attribute.s = b"C"
            return
    node.attribute.append(onnx.helper.make_attribute("locale", "C"))


def takes_text(estimator: Any) -> bool:
    """Whether the first step makes numbers of texts."""
    first = estimator
    while hasattr(first, "steps"):
        first = first.steps[0][1]
    return type(first).__name__ in VECTORIZERS


def register_boosters() -> None:
    """Tells skl2onnx of XGBoost's and LightGBM's estimators, where these are installed."""
    import sys

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
            kept = options if shapes is classifier else None
            update_registered_converter(
                getattr(boosters, name), f"Xgb{name}", shapes, convert_xgboost, options=kept
            )
    if "lightgbm" in sys.modules:
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

        boosters = sys.modules["lightgbm"]
        for name, shapes in (("LGBMClassifier", classifier), ("LGBMRegressor", regressor)):
            kept = options if shapes is classifier else {"split": None}
            update_registered_converter(
                getattr(boosters, name), f"Lgbm{name}", shapes, convert_lightgbm, options=kept
            )
