"""Exports a scikit-learn estimator with skl2onnx, with the outputs of its own methods."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modelpad.convert.sklearn_converters import register_converters
from modelpad.convert.sklearn_inputs import Inputs, last_step, unwrap, walk
from modelpad.convert.sklearn_nested import score_options
from modelpad.convert.sklearn_nodes import ML, OPSET
from modelpad.convert.sklearn_outputs import gives_labels
from modelpad.convert.source import TensorSpec
from modelpad.errors import ConversionFailed, MissingExtra, ModelpadError, first_line
from modelpad.runtime import load_onnxruntime

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto
    from skl2onnx.common.data_types import DataType

TARGET = {"": OPSET, ML: 3}


def export(
    estimator: Any, inputs: Inputs, outputs: Sequence[TensorSpec], methods: Sequence[str]
) -> ModelProto:
    """The graph with these inputs and outputs.

    Raises `MissingExtra`, or `ConversionFailed` with the true reason.
    """
    try:
        from skl2onnx import to_onnx
    except ImportError as error:
        raise MissingExtra("skl2onnx", extra="sklearn") from error
    register_converters(inputs.dtype)
    register_boosters()
    types = [(spec.name, tensor_type(spec)) for spec in inputs.specs]
    last = last_step(estimator)
    options = {id(one): allowed(one, kept) for one, kept in score_options(estimator)}
    labelled = gives_labels(estimator)
    if labelled and hasattr(last, "classes_"):
        raw = {"raw_scores": True} if "decision_function" in methods else {}
        options[id(last)] = allowed(last, {"zipmap": False, **raw})
    try:
        with _without_flat_votes(estimator):
            model: ModelProto = to_onnx(
                unwrap(estimator),
                initial_types=types,
                options={key: kept for key, kept in options.items() if kept} or None,
                target_opset=TARGET,
            )
    except ModelpadError:
        raise
    except Exception as error:
        raise ConversionFailed(
            f"The {type(last).__name__} cannot be written as an ONNX graph: {explain(error)}",
            hint="Remove or replace the step that has no converter.",
        ) from error
    for node in model.graph.node:
        if node.op_type == "StringNormalizer":
            set_locale(node)
    model = finish(model, outputs, labelled=labelled)
    check_runs(model, last)
    return model


def allowed(estimator: Any, options: Mapping[str, object]) -> dict[str, object]:
    """Those of the options that an estimator's converter has."""
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common._registration import get_converter

    alias = sklearn_operator_name_map.get(type(estimator))
    known = get_converter(alias).get_allowed_options() if alias else None
    return {name: value for name, value in options.items() if name in (known or ())}


def explain(error: Exception) -> str:
    """skl2onnx's reason, in one line, without its advice."""
    text = first_line(error, 300)
    if "Unable to find a shape calculator" in text or "Unable to find a converter" in text:
        kind = text.partition("'<class '")[2].partition("'")[0]
        return f"skl2onnx has no converter for {kind or 'one of its steps'}."
    return text


def check_runs(model: ModelProto, last: Any) -> None:
    """Raises `ConversionFailed` if ONNX Runtime cannot load the graph."""
    runtime = load_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        runtime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    except Exception as error:
        raise ConversionFailed(
            f"ONNX Runtime cannot run skl2onnx's graph of the {type(last).__name__}:"
            f" {first_line(error, 300)}",
            hint="Replace the step that has no working converter.",
        ) from error


@contextmanager
def _without_flat_votes(estimator: Any) -> Iterator[None]:
    """While it is exported, no vote has `flatten_transform`, which only concerns its transform."""
    votes = [one for one in walk(estimator) if getattr(one, "flatten_transform", False)]
    for one in votes:
        one.flatten_transform = False
    try:
        yield
    finally:
        for one in votes:
            one.flatten_transform = True


def tensor_type(spec: TensorSpec) -> DataType:
    """skl2onnx's type of an input."""
    from skl2onnx.common import data_types

    kinds = {
        "string": data_types.StringTensorType,
        "int64": data_types.Int64TensorType,
        "float32": data_types.FloatTensorType,
        "float64": data_types.DoubleTensorType,
    }
    return kinds[spec.dtype](list(spec.shape))


def finish(model: ModelProto, outputs: Sequence[TensorSpec], *, labelled: bool) -> ModelProto:
    """The graph with the names, dtypes and ranks of these outputs, in their order.

    `labelled`: the first is that of `predict`, and gives classes or clusters.
    """
    from onnx import helper

    graph = model.graph
    found = list(graph.output)
    del graph.output[:]
    inner = [_rename(model, value.name) for value in found]
    if labelled:  # parsed inner estimators leave their outputs in front
        found, inner = found[-2:], inner[-2:]
    for spec in outputs:
        _rename(model, spec.name)
    several = [spec for spec in outputs if spec.name.rpartition("_")[2].isdigit()]
    for at, spec in enumerate(outputs):
        if spec in several:
            source = _take_one(model, found[-1], inner[-1], several.index(spec))
        elif at < len(found):
            source = inner[at if labelled else -1]
        else:
            raise ConversionFailed(
                f"skl2onnx leaves out the {spec.name} of this estimator.",
                hint="Please report this, with the estimator and its version.",
            )
        if len(spec.shape) == 1 and spec.name == "decision_function" and is_table(found[at]):
            source = take_last_column(model, source)  # of the scores -x and x, that of class 1
        kind = helper.np_dtype_to_tensor_dtype(_numpy(spec.dtype))
        if spec.dtype != "string":
            graph.node.append(helper.make_node("Cast", [source], [f"{spec.name}_cast"], to=kind))
            source = f"{spec.name}_cast"
        shape = helper.make_tensor(
            f"{spec.name}_shape", 7, [len(spec.shape)], [side or -1 for side in spec.shape]
        )
        graph.initializer.append(shape)
        graph.node.append(helper.make_node("Reshape", [source, shape.name], [spec.name]))
        free = ["batch" if side is None else side for side in spec.shape]
        graph.output.append(helper.make_tensor_value_info(spec.name, kind, free))
    return model


def is_table(value: ValueInfoProto) -> bool:
    """Whether an output has rows and columns."""
    return len(value.type.tensor_type.shape.dim) == 2


def take_last_column(model: ModelProto, name: str) -> str:
    """The last column of a table."""
    from onnx import TensorProto, helper

    last = helper.make_tensor(f"{name}_last", TensorProto.INT64, [], [-1])
    model.graph.initializer.append(last)
    model.graph.node.append(
        helper.make_node("Gather", [name, last.name], [f"{name}_column"], axis=1)
    )
    return f"{name}_column"


def _numpy(dtype: str) -> Any:
    import numpy as np

    return np.dtype(object if dtype == "string" else dtype)


def _rename(model: ModelProto, name: str) -> str:
    """Gives a value of a graph another name, so that its own is free for an output."""
    inner = f"{name}_inner"
    for node in model.graph.node:
        for names in (node.input, node.output):
            for at, used in enumerate(names):
                if used == name:
                    names[at] = inner
    return inner


def _take_one(model: ModelProto, value: ValueInfoProto, name: str, at: int) -> str:
    """One of several outputs: of a sequence, or of a tensor that has them on its first axis."""
    from onnx import TensorProto, helper

    number = helper.make_tensor(f"{name}_{at}_index", TensorProto.INT64, [], [at])
    model.graph.initializer.append(number)
    kind = "SequenceAt" if value.type.HasField("sequence_type") else "Gather"
    model.graph.node.append(helper.make_node(kind, [name, number.name], [f"{name}_{at}"]))
    return f"{name}_{at}"


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
