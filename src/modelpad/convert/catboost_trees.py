"""Reads CatBoost's own JSON description of a model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelpad.convert.tree_ensembles import (
    MAX_NODES,
    Ensemble,
    Integers,
    Numbers,
    Tree,
    damaged,
    make_leaf,
    select_nodes,
)
from modelpad.errors import ConversionFailed
from modelpad.foreign_json import Json, as_list, as_object, list_at, load_json, object_at

if TYPE_CHECKING:
    from catboost import CatBoost

MAX_OBLIVIOUS_DEPTH = 16  # CatBoost's own limit
MAX_JSON_DEPTH = 1_000
# A split's column and threshold, and whether NaN is below it.
Split = tuple[int, float, bool]
Columns = dict[int, tuple[int, bool]]
"""The column of each numeric feature, and whether its missing values are below all others."""


def describe(model: CatBoost, columns: int) -> Ensemble:
    """Describes a model of numeric features. Raises `ConversionFailed` if it has others."""
    with tempfile.TemporaryDirectory(prefix="modelpad-catboost-") as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        body = path.read_bytes()
    try:
        ensemble = read_ensemble(as_object(load_json(body, MAX_JSON_DEPTH), "the model"), columns)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise damaged(str(error)[:200]) from error
    ensemble.check()
    return ensemble


def read_ensemble(record: Mapping[str, Json], columns: int) -> Ensemble:
    """The ensemble in CatBoost's JSON description."""
    scale, biases = list_at(record, "scale_and_bias")
    offset = np.array(as_list(biases, "bias"), np.float64)
    columns_of: Columns = {}
    for each in list_at(object_at(record, "features_info"), "float_features"):
        feature = as_object(each, "a feature")
        # Without missing values in training, NaN is greater than no border.
        treatment = feature.get("nan_value_treatment")
        column = int(str(feature["flat_feature_index"]))
        columns_of[int(str(feature["feature_index"]))] = (column, treatment != "AsTrue")
    key = "oblivious_trees" if "oblivious_trees" in record else "trees"
    read = _read_oblivious if key == "oblivious_trees" else _read_nested
    trees = tuple(
        read(as_object(tree, "a tree"), columns_of, len(offset)) for tree in list_at(record, key)
    )
    return Ensemble(
        "float32",
        False,
        columns,
        len(offset),
        trees,
        factor=float(str(scale)),
        offset=offset,
    )


def _read_split(record: Mapping[str, Json], columns_of: Columns) -> Split:
    if record.get("split_type") != "FloatFeature":
        raise categories_by_hash()
    column, nan_below = columns_of[int(str(record["float_feature_index"]))]
    return column, float(np.float32(float(str(record["border"])))), nan_below


def categories_by_hash() -> ConversionFailed:
    """The error for categorical splits."""
    return ConversionFailed(
        "CatBoost stores categories as hashes of their text, which ONNX cannot compute.",
        hint="Encode the categories as numbers before training to convert it to ONNX.",
    )


def _read_oblivious(record: Mapping[str, Json], columns_of: Columns, outputs: int) -> Tree:
    """A tree with the same split at all nodes of a level; the first decides the lowest bit."""
    values = np.array(list_at(record, "leaf_values"), np.float64).reshape(-1, outputs)
    splits = [
        _read_split(as_object(each, "a split"), columns_of)
        for each in as_list(record.get("splits") or [], "splits")
    ]
    depth = len(splits)
    if depth > MAX_OBLIVIOUS_DEPTH or len(values) != 1 << depth:
        raise damaged(f"a tree of {depth} levels has {len(values)} leaves")
    if not depth:
        return make_leaf(values[0])
    levels = [split for level, split in enumerate(reversed(splits)) for _ in range(1 << level)]
    below = 2 * np.arange(len(levels)) + 1
    first = len(levels)  # nodes are numbered as in a heap, whose last level is the leaves
    return _make_tree(
        levels,
        np.where(below >= first, ~(below - first), below),
        np.where(below + 1 >= first, ~(below + 1 - first), below + 1),
        values,
    )


def _read_nested(record: Mapping[str, Json], columns_of: Columns, outputs: int) -> Tree:
    """A tree of objects with a split and two children, or a value."""
    if "split" not in record:
        return make_leaf(_read_value(record, outputs))
    splits: list[Split] = []
    links: list[list[int]] = []
    leaves: list[Numbers] = []
    waiting = [(record, -1, 0)]
    while waiting:
        node, parent, side = waiting.pop()
        if "split" in node:
            number = len(splits)
            splits.append(_read_split(object_at(node, "split"), columns_of))
            links.append([0, 0])
            waiting += [(object_at(node, "right"), number, 1), (object_at(node, "left"), number, 0)]
        else:
            number = ~len(leaves)
            leaves.append(_read_value(node, outputs))
        if parent >= 0:
            links[parent][side] = number
        if len(splits) > MAX_NODES:
            raise damaged("a tree is too large")
    pairs = np.array(links)
    return _make_tree(splits, pairs[:, 0], pairs[:, 1], np.stack(leaves))


def _read_value(record: Mapping[str, Json], outputs: int) -> Numbers:
    return np.array(record["value"], np.float64).reshape(outputs)


def _make_tree(splits: list[Split], below: Integers, above: Integers, leaves: Numbers) -> Tree:
    columns, borders, nan_below = zip(*splits, strict=True)
    return select_nodes(
        Tree(
            np.array(columns, np.int64),
            np.array(borders, np.float64),
            below,
            above,
            np.array(nan_below, bool),
            leaves,
        )
    )
