"""Reads XGBoost's own JSON description of a booster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.tree_ensembles import (
    Ensemble,
    Flags,
    Integers,
    Numbers,
    Region,
    RegionTable,
    Tree,
    damaged,
    find_runs,
    make_leaf,
    select_nodes,
)
from modelpad.errors import ConversionFailed
from modelpad.foreign_json import (
    Json,
    as_object,
    integer_at,
    list_at,
    load_json,
    object_at,
    text_at,
)

if TYPE_CHECKING:
    from xgboost import Booster

MAX_CATEGORY = 1 << 24
# What each objective makes of the sum of the leaves. `base_score` is stored transformed.
TRANSFORMS = {
    "binary:hinge": "hinge",
    "binary:logistic": "sigmoid",
    "count:poisson": "exp",
    "multi:softmax": "argmax",
    "multi:softprob": "softmax",
    "reg:gamma": "exp",
    "reg:logistic": "sigmoid",
    "reg:tweedie": "exp",
    "survival:aft": "exp",
    "survival:cox": "exp",
}
UNTRANSFORMED = (
    "binary:logitraw",
    "rank:map",
    "rank:ndcg",
    "rank:pairwise",
    "reg:absoluteerror",
    "reg:expectileerror",
    "reg:linear",
    "reg:pseudohubererror",
    "reg:quantileerror",
    "reg:squarederror",
    "reg:squaredlogerror",
)


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear booster: weights (features, outputs), and what is added, (outputs,)."""

    weights: Numbers
    offset: Numbers


@dataclass(frozen=True, slots=True)
class Description:
    """A booster; `classes` is 0 unless it has an output for each class."""

    objective: str
    outputs: int
    classes: int
    body: Ensemble | Linear


def describe(booster: Booster, rounds: int | None = None) -> Description:
    """Describes a booster's first `rounds`, or all of it. Raises `ConversionFailed`."""
    try:
        record = as_object(load_json(bytes(booster.save_raw("json"))), "the model")
        learner = object_at(record, "learner")
        parameters = object_at(learner, "learner_model_param")
        objective = text_at(object_at(learner, "objective"), "name")
        classes = _number(parameters, "num_class")
        outputs = max(classes, 1) * max(_number(parameters, "num_target"), 1)
        features = _number(parameters, "num_feature")
        offset = read_base(text_at(parameters, "base_score"), objective, outputs)
        model = object_at(learner, "gradient_booster")
        body: Ensemble | Linear
        if text_at(model, "name") == "gblinear":
            body = _read_linear(object_at(model, "model"), features, _predict_zeros(booster))
        else:
            body = _read_ensemble(model, features, offset, rounds)
            body.check()
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise damaged(str(error)[:200]) from error
    return Description(objective, outputs, classes, body)


def check_links(record: Json) -> None:
    """Raises `ConversionFailed` for trees that XGBoost would follow out of its memory.

    `record` is a model's JSON, before XGBoost has read it.
    """
    try:
        learner = object_at(as_object(record, "the model"), "learner")
        features = _number(object_at(learner, "learner_model_param"), "num_feature")
        model = object_at(learner, "gradient_booster")
        model = object_at(model, "gbtree") if "gbtree" in model else model
        for tree in map(_as_tree, list_at(object_at(model, "model"), "trees")):
            left, right = _integers(tree, "left_children"), _integers(tree, "right_children")
            indices = _integers(tree, "split_indices")
            if not len(left) == len(right) == len(indices) > 0:
                raise damaged("a tree's lists differ in length")
            for links in (left, right):
                if links.min() < -1 or links.max() >= len(left):
                    raise damaged("a link leads to a node that does not exist")
            if indices.min() < 0 or (indices[left >= 0] >= features).any():
                raise damaged("a feature that does not exist")
    except KeyError:
        return  # a linear model, or another layout: XGBoost itself checks those
    except (ValueError, TypeError, OverflowError) as error:
        raise damaged(str(error)[:200]) from error


def _as_tree(record: Json) -> dict[str, Json]:
    return as_object(record, "a tree")


def read_base(text: str, objective: str, outputs: int) -> Numbers:
    """The sums without trees, (outputs,), from the base score as XGBoost stores it."""
    values: Json = json.loads(text)
    score = np.asarray(values, np.float32).reshape(-1)
    if len(score) not in (1, outputs):
        raise damaged(f"{len(score)} base scores for {outputs} outputs")
    if TRANSFORMS.get(objective) == "sigmoid":
        score = -np.log(1 / score - 1)
    elif TRANSFORMS.get(objective) == "exp":
        score = np.log(score)
    return np.broadcast_to(score.astype(np.float64), (outputs,))


def _predict_zeros(booster: Booster) -> Numbers:
    """A linear booster's biases and base score, which versions of XGBoost add differently."""
    import xgboost

    zeros = xgboost.DMatrix(np.zeros((1, booster.num_features()), np.float32))
    sums = booster.predict(zeros, output_margin=True, validate_features=False)
    return np.asarray(sums, np.float64).reshape(-1)


def _read_linear(model: Mapping[str, Json], features: int, offset: Numbers) -> Linear:
    weights = np.array(list_at(model, "weights"), np.float64)
    return Linear(weights.reshape(features + 1, len(offset))[:-1], offset)


def _read_ensemble(
    model: Mapping[str, Json], features: int, offset: Numbers, rounds: int | None
) -> Ensemble:
    factors: Sequence[Json] = ()
    if text_at(model, "name") == "dart":
        factors = list_at(model, "weight_drop")
        model = object_at(model, "gbtree")
    model = object_at(model, "model")
    records = list_at(model, "trees")
    owners = list_at(model, "tree_info")
    count = len(records)
    if rounds is not None and "iteration_indptr" in model:
        ends = list_at(model, "iteration_indptr")
        count = int(str(ends[min(rounds, len(ends) - 1)]))
    table = RegionTable(features)
    trees = []
    for number, record in enumerate(records[:count]):
        if not isinstance(record, dict):
            raise damaged("a tree is not an object")
        factor = float(str(factors[number])) if factors else 1.0
        trees.append(_read_tree(record, table, int(str(owners[number])), factor))
    return Ensemble(
        "float32", True, features, len(offset), tuple(trees), table.regions, offset=offset
    )


def _read_tree(record: Mapping[str, Json], table: RegionTable, owner: int, factor: float) -> Tree:
    left, right = _integers(record, "left_children"), _integers(record, "right_children")
    if not len(left) == len(right) > 0:
        raise damaged("a tree's lists differ in length")
    is_leaf = left == -1
    splits = np.flatnonzero(~is_leaf)
    leaves = _read_leaves(record, is_leaf, right)
    leaves = (leaves.astype(np.float32) * np.float32(factor)).astype(np.float64)
    if is_leaf[0]:
        return make_leaf(leaves[0], owner)
    links = np.where(is_leaf, ~(np.cumsum(is_leaf) - 1), np.cumsum(~is_leaf) - 1)
    for children in (left[splits], right[splits]):
        if children.min() < 0 or children.max() >= len(left):
            raise damaged("a link leads to a node that does not exist")
    below, above = links[left[splits]], links[right[splits]]
    conditions = np.array(list_at(record, "split_conditions"), np.float32)
    tree = Tree(
        _integers(record, "split_indices")[splits],
        conditions[splits].astype(np.float64),
        below,
        above,
        np.array(list_at(record, "default_left")).astype(bool)[splits],
        leaves,
        owner,
    )
    return select_nodes(_write_categories(record, tree, splits, table))


def _read_leaves(record: Mapping[str, Json], is_leaf: Flags, right: Integers) -> Numbers:
    """The values of the leaves, (leaves, outputs)."""
    width = _number(object_at(record, "tree_param"), "size_leaf_vector")
    if width <= 1:
        return np.array(list_at(record, "split_conditions"), np.float64)[is_leaf][:, None]
    if "leaf_weights" not in record:  # before XGBoost 3.2
        values = np.array(list_at(record, "base_weights"), np.float64).reshape(-1, width)
        return values[is_leaf]
    values = np.array(list_at(record, "leaf_weights"), np.float64).reshape(-1, width)
    places = right[is_leaf]
    # A tree that is only a leaf has no list of places.
    return values[np.maximum(places, 0)]


def _write_categories(
    record: Mapping[str, Json], tree: Tree, splits: Integers, table: RegionTable
) -> Tree:
    """The tree with its categorical splits as regions: members continue to the right."""
    nodes = _integers(record, "categories_nodes") if "categories_nodes" in record else ()
    if not len(nodes):
        return tree
    members = _integers(record, "categories")
    starts, sizes = _integers(record, "categories_segments"), _integers(record, "categories_sizes")
    if members.size and (members.min() < 0 or members.max() >= MAX_CATEGORY):
        raise damaged("a category is negative or too large")
    place = {int(node): number for number, node in enumerate(splits)}
    for node, start, size in zip(nodes, starts, sizes, strict=True):
        number = place[int(node)]
        runs = find_runs(members[start : start + size])
        bounds = tuple(float(bound) for run in runs for bound in run)
        if not bounds:
            raise damaged("a categorical split has no categories")
        region = Region(int(tree.features[number]), bounds, not tree.nan_below[number])
        tree.features[number] = table.column(region)
        tree.thresholds[number] = 0.5
    return tree


def check_objective(objective: str) -> str:
    """The transform of an objective. Raises `ConversionFailed` if it is not known."""
    if objective not in TRANSFORMS and objective not in UNTRANSFORMED:
        raise ConversionFailed(
            f"The objective {objective} has no known formula for its predictions.",
            hint="Train with one of XGBoost's own objectives.",
        )
    return TRANSFORMS.get(objective, "none")


def _integers(record: Mapping[str, Json], key: str) -> Integers:
    return np.array(list_at(record, key), np.float64).astype(np.int64)


def _number(record: Mapping[str, Json], key: str) -> int:
    """An integer that XGBoost writes as text."""
    value = record.get(key, 0)
    return int(value) if isinstance(value, str) else integer_at({key: value}, key)
