"""Estimators of scikit-learn as ONNX nodes in float64, where skl2onnx is too coarse or has none."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelpad.convert.sklearn_nodes import Nodes, int64s
from modelpad.convert.sklearn_trees import sign_labels
from modelpad.errors import ConversionFailed
from modelpad.fields.arrays import Array


def write_clusters(nodes: Nodes, model: Any, inputs: list[str]) -> list[str]:
    """The nearest cluster's number, and the distances to all."""
    rows = nodes("Unsqueeze", nodes.cast(inputs[0], "float64"), int64s(1))
    centers = np.asarray(model.cluster_centers_, np.float64)[None]
    distances = nodes("ReduceL2", nodes("Sub", rows, centers), int64s(2), keepdims=0)
    return [nodes("ArgMin", distances, axis=1, keepdims=0), distances]


def write_support_vectors(nodes: Nodes, model: Any, inputs: list[str]) -> list[str]:
    """A support vector regressor's values; a OneClassSVM's labels and scores."""
    vectors = model.support_vectors_
    vectors = np.asarray(vectors.toarray() if hasattr(vectors, "toarray") else vectors, np.float64)
    dual = model._dual_coef_
    dual = np.asarray(dual.toarray() if hasattr(dual, "toarray") else dual, np.float64)
    rows = nodes.cast(inputs[0], "float64")
    similar = _kernel(nodes, model, rows, vectors)
    output = nodes("MatMul", similar, dual.T)
    output = nodes("Add", output, np.asarray(model._intercept_, np.float64).reshape(1, -1))
    if type(model).__name__ != "OneClassSVM":
        return [output]
    return [sign_labels(nodes, output, strict=False), output]


def _kernel(nodes: Nodes, model: Any, rows: str, vectors: Array) -> str:
    gamma = np.array([float(model._gamma)])
    if model.kernel == "rbf":
        apart = nodes("Sub", nodes("Unsqueeze", rows, int64s(1)), vectors[None])
        squares = nodes("ReduceSumSquare", apart, int64s(2), keepdims=0)
        return nodes("Exp", nodes("Mul", squares, -gamma))
    product = nodes("MatMul", rows, vectors.T)
    if model.kernel == "linear":
        return product
    inner = nodes("Add", nodes("Mul", product, gamma), np.array([float(model.coef0)]))
    if model.kernel == "sigmoid":
        return nodes("Tanh", inner)
    if model.kernel == "poly":
        return nodes("Pow", inner, np.array([float(model.degree)]))
    raise ConversionFailed(
        f"The {type(model).__name__} calls a Python function as its kernel,"
        " which an ONNX graph cannot contain.",
        hint="Fit it with a built-in kernel, such as rbf.",
    )


def write_isotonic(nodes: Nodes, model: Any, inputs: list[str]) -> list[str]:
    """Isotonic regression: interpolation between the points that it has learnt."""
    if model.out_of_bounds == "raise":
        raise ConversionFailed(
            "The IsotonicRegression raises an error outside of the range that it was fitted on"
            " (out_of_bounds='raise'), which a graph cannot do.",
            hint="Fit it with out_of_bounds='clip' or 'nan'.",
        )
    value = nodes.cast(inputs[0], "float64")
    xs = np.asarray(model.X_thresholds_, np.float64)
    ys = np.asarray(model.y_thresholds_, np.float64)
    output = interpolate(nodes, value, xs, ys)
    if model.out_of_bounds == "nan":
        low, high = nodes("Less", value, xs[:1]), nodes("Greater", value, xs[-1:])
        output = nodes("Where", nodes("Or", low, high), np.array([np.nan]), output)
    return [output]


def interpolate(nodes: Nodes, value: str, xs: Array, ys: Array) -> str:
    """Values [rows, 1] on the line through points with increasing `xs`, constant outside."""
    if len(xs) == 1:
        return nodes("Add", nodes("Mul", value, np.zeros(1)), ys)
    clipped = nodes("Min", nodes("Max", value, xs[:1]), xs[-1:])
    passed = nodes.cast(nodes("GreaterOrEqual", clipped, xs[None, 1:-1]), "int64")
    at = nodes("ReduceSum", passed, int64s(1), keepdims=1)
    slopes = np.diff(ys) / np.diff(xs)
    run = nodes("Sub", clipped, nodes("Gather", xs[:-1], at))
    return nodes(
        "Add", nodes("Gather", ys[:-1], at), nodes("Mul", run, nodes("Gather", slopes, at))
    )


def invert_target(nodes: Nodes, transformer: Any, value: str) -> str:
    """The inverse of a TransformedTargetRegressor's fitted transformer.

    Raises `ConversionFailed` if it has no counterpart.
    """
    kind = type(transformer).__name__
    if kind == "FunctionTransformer":
        return _apply(nodes, transformer.inverse_func, value)
    if kind in ("StandardScaler", "RobustScaler", "MaxAbsScaler"):
        scale = getattr(transformer, "scale_", None)
        center = getattr(transformer, "mean_", getattr(transformer, "center_", None))
        if scale is not None and getattr(transformer, "with_scaling", True):
            value = nodes("Mul", value, np.asarray(scale, np.float64))
        is_moved = getattr(transformer, "with_mean", getattr(transformer, "with_centering", True))
        return value if center is None or not is_moved else nodes("Add", value, np.asarray(center))
    if kind == "MinMaxScaler":
        moved = nodes("Sub", value, np.asarray(transformer.min_, np.float64))
        return nodes("Div", moved, np.asarray(transformer.scale_, np.float64))
    if kind == "QuantileTransformer" and transformer.output_distribution == "uniform":
        references = np.asarray(transformer.references_, np.float64)
        quantiles = np.asarray(transformer.quantiles_, np.float64)
        if quantiles.shape[1] == 1:
            return interpolate(nodes, value, references, quantiles[:, 0])
    raise ConversionFailed(
        f"The inverse of the target's {kind} has no counterpart in ONNX.",
        hint="Transform the target with StandardScaler, MinMaxScaler, or np.log1p and np.expm1.",
    )


def _apply(nodes: Nodes, function: Any, value: str) -> str:
    """One of NumPy's functions of a number."""
    if function is None:
        return value
    simple = {
        np.exp: "Exp",
        np.log: "Log",
        np.sqrt: "Sqrt",
        np.abs: "Abs",
        np.reciprocal: "Reciprocal",
    }
    if function in simple:
        return nodes(simple[function], value)
    if function is np.square:
        return nodes("Mul", value, value)
    if function is np.expm1:
        return nodes("Sub", nodes("Exp", value), np.ones(1))
    if function is np.log1p:
        return nodes("Log", nodes("Add", value, np.ones(1)))
    if function is np.exp2:
        return nodes("Pow", np.array([2.0]), value)
    name = getattr(function, "__name__", type(function).__name__)
    raise ConversionFailed(
        f"The target is transformed back by the Python function {name},"
        " which an ONNX graph cannot contain.",
        hint="Use one of NumPy's: exp, expm1, log, log1p, sqrt or square.",
    )


def write_bins(nodes: Nodes, model: Any, inputs: list[str]) -> list[str]:
    """KBinsDiscretizer: the number of each column's bin, or a column for each bin."""
    rows = nodes.cast(inputs[0], "float64")
    parts = []
    for at, edges in enumerate(model.bin_edges_):
        column = nodes("Gather", rows, int64s(at), axis=1)
        inner = np.asarray(edges[1:-1], np.float64)
        if len(inner):
            passed = nodes.cast(nodes("GreaterOrEqual", column, inner[None]), "float64")
            number = nodes("ReduceSum", passed, int64s(1), keepdims=1)
        else:
            number = nodes("Mul", column, np.zeros(1))
        if model.encode != "ordinal":
            bins = np.arange(len(edges) - 1, dtype=np.float64)[None]
            number = nodes.cast(nodes("Equal", number, bins), "float64")
        parts.append(number)
    return [nodes("Concat", *parts, axis=1)]
