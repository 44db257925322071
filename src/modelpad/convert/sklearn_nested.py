"""Converters of estimators around others: calibrated classifiers and transformed targets.

The inner estimators are parsed as parts of the graph, so that they may take several inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modelpad.convert.sklearn_inputs import last_step, walk
from modelpad.convert.sklearn_nodes import Nodes, int64s
from modelpad.convert.sklearn_numeric import interpolate, invert_target
from modelpad.convert.sklearn_trees import pick_classes
from modelpad.errors import ConversionFailed

if TYPE_CHECKING:
    from skl2onnx.common._container import ModelComponentContainer
    from skl2onnx.common._topology import Operator, Scope


def register_nested(dtype: str, tensor: Any) -> None:
    """Registers them. `tensor` is skl2onnx's type of numbers with fractions, of this dtype."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common import data_types
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import TransformedTargetRegressor

    def calibrated_shape(operator: Operator) -> None:
        classes = operator.raw_operator.classes_
        is_text = classes.dtype.kind in "OU"
        names = data_types.StringTensorType if is_text else data_types.Int64TensorType
        operator.outputs[0].type = names([None])
        operator.outputs[1].type = tensor([None, len(classes)])

    def calibrated(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
        nodes = Nodes(scope, container)
        model = operator.raw_operator
        scores = [value.full_name for value in operator.inputs]
        shares = _calibrate(nodes, model, scores)
        labels = pick_classes(nodes, shares, model.classes_)
        nodes("Identity", labels, result=operator.outputs[0].full_name)
        nodes.cast(shares, dtype, operator.outputs[1].full_name)

    def target_shape(operator: Operator) -> None:
        operator.outputs[0].type = tensor([None, operator.inputs[0].type.shape[-1]])

    def target(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
        nodes = Nodes(scope, container)
        value = nodes.cast(operator.inputs[0].full_name, "float64")
        value = invert_target(nodes, operator.raw_operator.transformer_, value)
        nodes.cast(value, dtype, operator.outputs[0].full_name)

    update_registered_converter(
        CalibratedClassifierCV,
        "ModelpadCalibratedClassifierCV",
        calibrated_shape,
        calibrated,
        parser=_parser(
            "ModelpadCalibratedClassifierCV", _calibrated_parts, ("label", "shares"), tensor
        ),
        options={"zipmap": [True, False], "nocl": [True, False], "raw_scores": [True, False]},
    )
    update_registered_converter(
        TransformedTargetRegressor,
        "ModelpadTransformedTargetRegressor",
        target_shape,
        target,
        parser=_parser(
            "ModelpadTransformedTargetRegressor",
            lambda model: [model.regressor_],
            ("prediction",),
            tensor,
        ),
    )


def _calibrated_parts(model: Any) -> list[Any]:
    return [one.estimator for one in model.calibrated_classifiers_]


def _parser(
    alias: str, parts: Callable[[Any], Sequence[Any]], outputs: Sequence[str], tensor: Any
) -> Callable[..., Any]:
    """Parses the inner estimators; their last outputs become the inputs of the outer one."""

    def parse(scope: Scope, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
        from skl2onnx._parse import parse_sklearn
        from skl2onnx.common.data_types import Int64TensorType

        inner = [parse_sklearn(scope, part, inputs, custom_parsers)[-1] for part in parts(model)]
        operator = scope.declare_local_operator(alias, model)
        for value in inner:
            operator.inputs.append(value)
        for name in outputs:
            kind = Int64TensorType() if name == "label" else tensor()
            operator.outputs.append(scope.declare_local_variable(name, kind))
        return operator.outputs

    return parse


def score_options(estimator: Any) -> Iterator[tuple[Any, dict[str, object]]]:
    """The options of the classifiers in calibrated ones, which take their scores if there are."""
    for model in walk(estimator):
        for part in getattr(model, "calibrated_classifiers_", ()):
            options: dict[str, object] = {"zipmap": False}
            if hasattr(part.estimator, "decision_function"):
                options["raw_scores"] = True
            yield last_step(part.estimator), options


def _calibrate(nodes: Nodes, model: Any, scores: Sequence[str]) -> str:
    """The mean of all calibrated probabilities, float64 [rows, classes]."""
    count = len(model.classes_)
    shares = []
    for part, score in zip(model.calibrated_classifiers_, scores, strict=True):
        value = nodes.cast(score, "float64")
        if count == 2:
            value = nodes("Gather", value, int64s(-1), axis=1)
            positive = _apply(nodes, part.calibrators[0], value)
            both = nodes("Concat", nodes("Sub", np.ones(1), positive), positive, axis=1)
            shares.append(both)
            continue
        columns = [
            _apply(nodes, calibrator, nodes("Gather", value, int64s(at), axis=1))
            for at, calibrator in enumerate(part.calibrators)
        ]
        raw = nodes("Concat", *columns, axis=1)
        total = nodes("ReduceSum", raw, int64s(1), keepdims=1)
        none = nodes("Equal", total, np.zeros(1))
        scaled = nodes("Div", raw, nodes("Where", none, np.ones(1), total))
        shares.append(nodes("Where", none, np.array([1 / count]), scaled))
    return nodes("Div", nodes("Sum", *shares), np.array([float(len(shares))]))


def _apply(nodes: Nodes, calibrator: Any, value: str) -> str:
    """A fitted calibrator's probabilities for scores [rows, 1]."""
    if hasattr(calibrator, "a_"):
        inner = nodes(
            "Add", nodes("Mul", value, np.array([-calibrator.a_])), np.array([-calibrator.b_])
        )
        return nodes("Sigmoid", inner)
    if hasattr(calibrator, "X_thresholds_"):
        xs = np.asarray(calibrator.X_thresholds_, np.float64)
        return interpolate(nodes, value, xs, np.asarray(calibrator.y_thresholds_, np.float64))
    raise ConversionFailed(
        f"Probabilities calibrated by a {type(calibrator).__name__} have no counterpart in ONNX.",
        hint="Calibrate with method='sigmoid' or 'isotonic'.",
    )
