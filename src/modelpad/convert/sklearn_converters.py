"""Converters that replace or complete those of skl2onnx, registered with it before an export.

Each is exact where skl2onnx's is wrong, too coarse or missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelpad.convert.sklearn_hashing import hash_ngrams
from modelpad.convert.sklearn_imputer import register_imputer
from modelpad.convert.sklearn_neighbors import is_weighted, write_neighbors
from modelpad.convert.sklearn_nested import register_nested
from modelpad.convert.sklearn_nodes import Nodes
from modelpad.convert.sklearn_numeric import (
    write_bins,
    write_clusters,
    write_isotonic,
    write_support_vectors,
)
from modelpad.convert.sklearn_text import count_ngrams, weigh
from modelpad.convert.sklearn_trees import write_boosting, write_forest, write_isolation_forest

if TYPE_CHECKING:
    from skl2onnx.common._container import ModelComponentContainer
    from skl2onnx.common._topology import Operator, Scope

Write = Callable[[Nodes, Any, list[str]], Sequence[str]]
"""Adds an estimator's nodes for its inputs; returns the names of its outputs, in order."""
Width = Callable[[Any], int | None]
"""The number of columns of a fitted estimator's last output."""

OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False], "raw_scores": [True, False]}


def register_converters(dtype: str) -> None:
    """Registers all of them. `dtype`, `float32` or `float64`, is that of numbers with fractions."""
    from skl2onnx.operator_converters import nearest_neighbours as originals
    from skl2onnx.shape_calculators import nearest_neighbours as shapes
    from sklearn import cluster, ensemble, isotonic, neighbors, preprocessing, svm, tree
    from sklearn.feature_extraction import text

    def register(write: Write, width: Width, *kinds: type, labels: bool = False) -> None:
        for kind in kinds:
            _register(kind, write, width, dtype, labels=labels)

    register(_count, lambda one: len(one.vocabulary_), text.CountVectorizer)
    register(_weigh_text, lambda one: len(one.vocabulary_), text.TfidfVectorizer)
    register(_weigh, lambda one: int(one.n_features_in_), text.TfidfTransformer)
    register(_hash, lambda one: int(one.n_features), text.HashingVectorizer)
    register(write_bins, _bins, preprocessing.KBinsDiscretizer)
    register(write_isotonic, lambda one: 1, isotonic.IsotonicRegression)
    register(write_support_vectors, lambda one: 1, svm.SVR, svm.NuSVR)
    register(write_support_vectors, lambda one: 1, svm.OneClassSVM, labels=True)
    register(write_isolation_forest, lambda one: 1, ensemble.IsolationForest, labels=True)
    register(write_clusters, _clusters, cluster.KMeans, cluster.MiniBatchKMeans, labels=True)
    register(
        write_forest,
        lambda one: int(one.n_outputs_),
        ensemble.RandomForestRegressor,
        ensemble.ExtraTreesRegressor,
        tree.DecisionTreeRegressor,
        tree.ExtraTreeRegressor,
    )
    register(
        write_forest,
        _classes,
        ensemble.RandomForestClassifier,
        ensemble.ExtraTreesClassifier,
        tree.DecisionTreeClassifier,
        tree.ExtraTreeClassifier,
        labels=True,
    )
    register(write_boosting, lambda one: 1, ensemble.HistGradientBoostingRegressor)
    register(write_boosting, _classes, ensemble.HistGradientBoostingClassifier, labels=True)
    _register_neighbors(
        neighbors.KNeighborsRegressor,
        shapes.calculate_sklearn_nearest_neighbours_regressor,
        originals.convert_nearest_neighbors_regressor,
        dtype,
    )
    _register_neighbors(
        neighbors.KNeighborsClassifier,
        shapes.calculate_linear_classifier_output_shapes,
        originals.convert_nearest_neighbors_classifier,
        dtype,
    )
    register_nested(dtype, tensor_kind(dtype))
    register_imputer(dtype, tensor_kind(dtype))


def _register_neighbors(kind: type, shapes: Any, original: Any, dtype: str) -> None:
    """Registers nearest neighbours, which are left to skl2onnx unless weighted by distance."""
    from skl2onnx import update_registered_converter

    def convert(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
        if not is_weighted(operator.raw_operator):
            original(scope, operator, container)
            return
        nodes = Nodes(scope, container)
        inputs = [value.full_name for value in operator.inputs]
        values = write_neighbors(nodes, operator.raw_operator, inputs)
        if len(values) > 1:
            nodes("Identity", values[0], result=operator.outputs[0].full_name)
        nodes.cast(values[-1], dtype, operator.outputs[-1].full_name)

    optional = {"optim": [None, "cdist"], **(OPTIONS if hasattr(kind, "predict_proba") else {})}
    update_registered_converter(kind, _alias(kind), shapes, convert, options=optional)


def _register(kind: type, write: Write, width: Width, dtype: str, *, labels: bool) -> None:
    """Registers an estimator. With `labels`, its first output are labels."""
    from skl2onnx import update_registered_converter
    from skl2onnx.common import data_types

    tensor = tensor_kind(dtype)

    def set_shape(operator: Operator) -> None:
        model = operator.raw_operator
        if labels:
            classes = getattr(model, "classes_", None)
            first = classes[0] if isinstance(classes, list) else classes
            is_text = first is not None and first.dtype.kind in "OU"
            names = data_types.StringTensorType if is_text else data_types.Int64TensorType
            several = [len(classes)] if isinstance(classes, list) else []
            operator.outputs[0].type = names([None, *several])
        count = width(model)
        stacked = labels and isinstance(getattr(model, "classes_", None), list)
        shape = [len(model.classes_), None, count] if stacked else [None, count]
        operator.outputs[-1].type = tensor(shape)

    def convert(scope: Scope, operator: Operator, container: ModelComponentContainer) -> None:
        nodes = Nodes(scope, container)
        inputs = [value.full_name for value in operator.inputs]
        values = write(nodes, operator.raw_operator, inputs)
        if labels:
            nodes("Identity", values[0], result=operator.outputs[0].full_name)
        nodes.cast(values[-1], dtype, operator.outputs[-1].full_name)

    options: Mapping[str, object] | None = None
    if labels:
        is_classifier = hasattr(kind, "predict_proba")
        options = OPTIONS if is_classifier else {"score_samples": [True, False]}
    update_registered_converter(kind, _alias(kind), set_shape, convert, options=options)


def _alias(kind: type) -> str:
    """skl2onnx's name of an estimator, by which it knows how many outputs there are."""
    from skl2onnx._supported_operators import sklearn_operator_name_map

    return str(sklearn_operator_name_map.get(kind, f"Modelpad{kind.__name__}"))


def tensor_kind(dtype: str) -> Any:
    """skl2onnx's tensor type of a dtype."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    return DoubleTensorType if dtype == "float64" else FloatTensorType


def _classes(model: Any) -> int:
    if isinstance(model.classes_, list):
        return max(len(one) for one in model.classes_)
    return len(model.classes_)


def _clusters(model: Any) -> int:
    return len(model.cluster_centers_)


def _bins(model: Any) -> int:
    return len(model.n_bins_) if model.encode == "ordinal" else int(sum(model.n_bins_))


def _count(nodes: Nodes, vectorizer: Any, inputs: list[str]) -> list[str]:
    return [count_ngrams(nodes, vectorizer, inputs[0])]


def _weigh_text(nodes: Nodes, vectorizer: Any, inputs: list[str]) -> list[str]:
    return [weigh(nodes, vectorizer._tfidf, count_ngrams(nodes, vectorizer, inputs[0]))]


def _weigh(nodes: Nodes, transformer: Any, inputs: list[str]) -> list[str]:
    return [weigh(nodes, transformer, inputs[0])]


def _hash(nodes: Nodes, vectorizer: Any, inputs: list[str]) -> list[str]:
    return [hash_ngrams(nodes, vectorizer, inputs[0])]
