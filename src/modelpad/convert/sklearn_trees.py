"""Trees of scikit-learn as ONNX nodes, exact at their thresholds and for missing values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelpad.convert.sklearn_nodes import ML, Nodes, int64s
from modelpad.fields.arrays import Array


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree's nodes. A leaf has no left child (-1). `values` are (nodes, targets).

    A row goes left where its feature is at most the threshold, or is missing and `missing_left`.
    """

    left: Any
    right: Any
    feature: Any
    threshold: Any
    missing_left: Any
    values: Any


def read_tree(tree: Any, values: Array, features: Array | None = None) -> Tree:
    """A fitted `tree_` with these leaf values; `features` are the columns that it was given."""
    feature = np.maximum(tree.feature, 0)
    return Tree(
        tree.children_left,
        tree.children_right,
        feature if features is None else np.asarray(features)[feature],
        floor_float32(tree.threshold),
        np.asarray(tree.missing_go_to_left, bool),
        values,
    )


def floor_float32(values: Any) -> Any:
    """The largest float32 at most each value: scikit-learn compares float32 with float64."""
    rounded = values.astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def run_trees(
    nodes: Nodes, rows: str, trees: Sequence[Tree], dtype: str, *, average: bool = False
) -> str:
    """The sum or the average of all trees for rows of this dtype, float32 [rows, targets]."""
    from onnx import numpy_helper

    sizes = [len(tree.left) for tree in trees]
    leaves = [np.flatnonzero(tree.left < 0) for tree in trees]
    targets = trees[0].values.shape[1]
    at_leaf = np.concatenate([tree.left < 0 for tree in trees])
    numbers = np.concatenate([np.arange(size) for size in sizes])
    owners = np.repeat(np.arange(len(trees)), sizes)
    leaf_owners = np.repeat(np.arange(len(trees)), [len(one) * targets for one in leaves])
    weights = np.concatenate([tree.values[at] for tree, at in zip(trees, leaves, strict=True)])
    thresholds = np.where(at_leaf, 0, np.concatenate([tree.threshold for tree in trees]))
    attributes: dict[str, Any] = {}
    for name, values in (("nodes_values", thresholds), ("target_weights", weights.reshape(-1))):
        if dtype == "float64":
            tensor = numpy_helper.from_array(values.astype(np.float64), name)
            attributes[f"{name}_as_tensor"] = tensor
        else:
            attributes[name] = values.astype(np.float32).tolist()
    left = np.concatenate([tree.left for tree in trees])
    right = np.concatenate([tree.right for tree in trees])
    missing = np.concatenate([tree.missing_left for tree in trees])
    leaf_ids = np.concatenate([np.repeat(one, targets) for one in leaves])
    return nodes(
        "TreeEnsembleRegressor",
        rows,
        domain=ML,
        n_targets=targets,
        aggregate_function="AVERAGE" if average else "SUM",
        post_transform="NONE",
        nodes_treeids=owners.tolist(),
        nodes_nodeids=numbers.tolist(),
        nodes_featureids=np.concatenate([tree.feature for tree in trees]).tolist(),
        nodes_modes=["LEAF" if leaf else "BRANCH_LEQ" for leaf in at_leaf],
        nodes_truenodeids=np.where(at_leaf, 0, left).tolist(),
        nodes_falsenodeids=np.where(at_leaf, 0, right).tolist(),
        nodes_missing_value_tracks_true=np.where(at_leaf, 0, missing).astype(int).tolist(),
        target_treeids=leaf_owners.tolist(),
        target_nodeids=leaf_ids.tolist(),
        target_ids=np.tile(np.arange(targets), len(leaf_ids) // targets).tolist(),
        **attributes,
    )


def pick_classes(nodes: Nodes, scores: str, classes: Array) -> str:
    """The class with the highest score: int64 or string [rows]."""
    best = nodes("ArgMax", scores, axis=1, keepdims=0)
    return name_classes(nodes, best, classes)


def name_classes(nodes: Nodes, at: str, classes: Array) -> str:
    """Classes by number."""
    known = classes.astype(object) if classes.dtype.kind in "OU" else classes.astype(np.int64)
    return nodes("Gather", known, at, axis=0)


def forest_trees(forest: Any) -> list[Tree]:
    """The trees of a forest, or of a single tree, with all outputs and classes side by side."""
    members = getattr(forest, "estimators_", None) or [forest]
    trees = []
    for member in members:
        value = member.tree_.value  # (nodes, outputs, classes)
        if hasattr(forest, "classes_"):
            value = value / np.maximum(value.sum(axis=2, keepdims=True), 1e-300)
        trees.append(read_tree(member.tree_, value.reshape(len(value), -1)))
    return trees


def write_forest(nodes: Nodes, forest: Any, inputs: list[str]) -> list[str]:
    """A regressor's values; a classifier's labels and probabilities."""
    rows = nodes.cast(inputs[0], "float32")
    output = run_trees(nodes, rows, forest_trees(forest), "float32", average=True)
    if not hasattr(forest, "classes_"):
        return [output]
    if forest.n_outputs_ == 1:
        return [pick_classes(nodes, output, forest.classes_), output]
    width = int(np.max(forest.n_classes_))
    shares = nodes("Reshape", output, int64s(-1, forest.n_outputs_, width))
    labels = [
        nodes(
            "Unsqueeze",
            pick_classes(nodes, nodes("Gather", shares, np.array(at), axis=1), classes),
            int64s(1),
        )
        for at, classes in enumerate(forest.classes_)
    ]
    return [nodes("Concat", *labels, axis=1), nodes("Transpose", shares, perm=[1, 0, 2])]


def write_isolation_forest(nodes: Nodes, forest: Any, inputs: list[str]) -> list[str]:
    """The labels 1 and -1, and the scores of `decision_function`."""
    from sklearn.ensemble._iforest import _average_path_length

    trees = []
    pairs = zip(forest.estimators_, forest.estimators_features_, strict=True)
    for at, (member, features) in enumerate(pairs):
        depth = forest._decision_path_lengths[at] + forest._average_path_length_per_tree[at] - 1
        trees.append(read_tree(member.tree_, np.asarray(depth).reshape(-1, 1), features))
    rows = nodes.cast(inputs[0], "float32")
    depths = nodes.cast(run_trees(nodes, rows, trees, "float32"), "float64")
    most = len(trees) * float(_average_path_length([forest._max_samples])[0])
    power = nodes("Pow", np.array([2.0]), nodes("Div", depths, np.array([-most])))
    scores = nodes("Sub", np.array([-float(forest.offset_)]), power)
    return [sign_labels(nodes, scores, strict=True), scores]


def sign_labels(nodes: Nodes, scores: str, *, strict: bool) -> str:
    """-1 for negative scores and 1 for others; if not `strict`, -1 for zero too."""
    outside = nodes("Less" if strict else "LessOrEqual", scores, np.zeros(1))
    return nodes("Where", outside, int64s(-1), int64s(1))


def write_boosting(nodes: Nodes, model: Any, inputs: list[str]) -> list[str]:
    """Histogram gradient boosting: a regressor's values; labels and probabilities."""
    rows, indicators = _boosting_rows(nodes, model, inputs)
    raws = []
    for at in range(model.n_trees_per_iteration_):
        trees = [
            _boosting_tree(predictors[at].nodes, model, indicators, (turn, at))
            for turn, predictors in enumerate(model._predictors)
        ]
        raws.append(nodes.cast(run_trees(nodes, rows, trees, "float64"), "float64"))
    raw = nodes("Concat", *raws, axis=1)
    raw = nodes("Add", raw, np.asarray(model._baseline_prediction, np.float64).reshape(1, -1))
    if not hasattr(model, "classes_"):
        link = type(model._loss.link).__name__
        return [nodes("Exp", raw) if link == "LogLink" else raw]
    if model.n_trees_per_iteration_ == 1:
        positive = nodes.cast(nodes("Greater", raw, np.zeros(1)), "int64")
        labels = name_classes(nodes, nodes("Reshape", positive, int64s(-1)), model.classes_)
        share = nodes("Sigmoid", raw)
        return [labels, nodes("Concat", nodes("Sub", np.ones(1), share), share, axis=1)]
    return [pick_classes(nodes, raw, model.classes_), nodes("Softmax", raw, axis=1)]


Indicators = dict[tuple[int, int, int], int]
"""The column that tells whether a categorical split goes left: by iteration, tree and node."""


def _boosting_rows(nodes: Nodes, model: Any, inputs: list[str]) -> tuple[str, Indicators]:
    """The columns in the model's order, and one more for each categorical split: 0 is left."""
    if model._preprocessor is None:
        return nodes.cast(inputs[0], "float64"), {}
    is_categorical = np.asarray(model.is_categorical_)
    whole = inputs[0] if len(inputs) == 1 else ""

    def column(at: int) -> str:
        return nodes("Gather", whole, int64s(at), axis=1) if whole else inputs[at]

    encoder = model._preprocessor.named_transformers_["encoder"]
    categorical = np.flatnonzero(is_categorical)
    numeric = [nodes.cast(column(int(at)), "float64") for at in np.flatnonzero(~is_categorical)]
    matches = [
        _match(nodes, column(int(at)), values)
        for at, values in zip(categorical, encoder.categories_, strict=True)
    ]
    splits: dict[int, list[Array]] = {at: [] for at in range(len(matches))}
    places: list[tuple[int, tuple[int, int, int]]] = []
    for turn, predictors in enumerate(model._predictors):
        for at, predictor in enumerate(predictors):
            for number in np.flatnonzero(predictor.nodes["is_categorical"]):
                node = predictor.nodes[number]
                if node["is_leaf"]:
                    continue
                feature = int(node["feature_idx"])
                bits = predictor.raw_left_cat_bitsets[node["bitset_idx"]]
                count = _present(encoder.categories_[feature])
                goes_left = [
                    bool(bits[code // 32] >> (code % 32) & 1) for code in range(len(count))
                ]
                right = [not left for left in (*goes_left, bool(node["missing_go_to_left"]))]
                splits[feature].append(np.array(right, np.float64))
                places.append((feature, (turn, at, int(number))))
    blocks, starts = [], {}
    width = len(is_categorical)
    for feature, rules in splits.items():
        starts[feature] = width
        if rules:
            blocks.append(nodes("MatMul", matches[feature], np.stack(rules, axis=1)))
            width += len(rules)
    seen: dict[int, int] = {}
    indicators: Indicators = {}
    for feature, key in places:
        indicators[key] = starts[feature] + seen.get(feature, 0)
        seen[feature] = seen.get(feature, 0) + 1
    blank = [nodes("Mul", nodes.slice(one, 0, 1), np.zeros(1)) for one in matches]
    return nodes("Concat", *blank, *numeric, *blocks, axis=1), indicators


def _present(values: Array) -> list[Any]:
    """An encoder's categories but for missing ones, which it puts last and codes as missing."""
    return [one for one in values.tolist() if one is not None and one == one]


def _match(nodes: Nodes, column: str, values: Array) -> str:
    """Which category each row has, float64 [rows, categories + 1]; the last one is none."""
    present = _present(values)
    if present and isinstance(present[0], str):
        known = nodes("Equal", column, np.array([present], object))
    else:
        number = nodes.cast(column, "float64")
        known = nodes("Equal", number, np.array([present], np.float64))
    equal = nodes.cast(known, "float64")
    other = nodes("Sub", np.ones(1), nodes("ReduceSum", equal, int64s(1), keepdims=1))
    return nodes("Concat", equal, other, axis=1)


def _boosting_tree(table: Any, model: Any, indicators: Indicators, place: tuple[int, int]) -> Tree:
    leaf = table["is_leaf"].astype(bool)
    feature = table["feature_idx"].astype(np.int64)
    threshold = table["num_threshold"].astype(np.float64)
    for number in np.flatnonzero(table["is_categorical"].astype(bool) & ~leaf):
        feature[number] = indicators[(*place, int(number))]
        threshold[number] = 0.5
    return Tree(
        np.where(leaf, -1, table["left"].astype(np.int64)),
        table["right"].astype(np.int64),
        feature,
        threshold,
        table["missing_go_to_left"].astype(bool),
        table["value"].reshape(-1, 1),
    )
