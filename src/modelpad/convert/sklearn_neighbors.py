"""Nearest neighbours of scikit-learn weighted by distance, as ONNX nodes.

skl2onnx divides by zero where a row is one of those that the estimator was fitted on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from modelpad.convert.sklearn_nodes import Nodes, int64s
from modelpad.convert.sklearn_trees import pick_classes


def is_weighted(model: Any) -> bool:
    """Whether its neighbours are weighted by Euclidean distance and it has one output."""
    metric = model.effective_metric_
    return bool(model.weights == "distance" and metric == "euclidean" and model._y.ndim == 1)


def write_neighbors(nodes: Nodes, model: Any, inputs: list[str]) -> list[str]:
    """A regressor's values; a classifier's labels and probabilities."""
    rows = nodes("Unsqueeze", nodes.cast(inputs[0], "float64"), int64s(1))
    known = np.asarray(model._fit_X, np.float64)[None]
    apart = nodes("ReduceL2", nodes("Sub", rows, known), int64s(2), keepdims=0)
    distances, places = nodes.nearest(apart, model.n_neighbors)
    weights = _weigh(nodes, distances)
    if not hasattr(model, "classes_"):
        values = nodes("Gather", np.asarray(model._y, np.float64), places)
        total = nodes("ReduceSum", nodes("Mul", values, weights), int64s(1), keepdims=1)
        return [nodes("Div", total, nodes("ReduceSum", weights, int64s(1), keepdims=1))]
    members = np.eye(len(model.classes_))[np.asarray(model._y, int)]
    votes = nodes("Mul", nodes("Gather", members, places), nodes("Unsqueeze", weights, int64s(2)))
    sums = nodes("ReduceSum", votes, int64s(1), keepdims=0)
    shares = nodes("Div", sums, nodes("ReduceSum", sums, int64s(1), keepdims=1))
    return [pick_classes(nodes, shares, model.classes_), shares]


def _weigh(nodes: Nodes, distances: str) -> str:
    """The inverse of the distances; where there are zeros, they alone count."""
    same = nodes("Equal", distances, np.zeros(1))
    exact = nodes.cast(same, "float64")
    any_same = nodes("Greater", nodes("ReduceMax", exact, int64s(1), keepdims=1), np.zeros(1))
    inverse = nodes("Div", np.ones(1), nodes("Where", same, np.ones(1), distances))
    return nodes("Where", any_same, exact, inverse)
